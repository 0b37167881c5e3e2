"""One annotator at work: which image is open, what of it is to be kept, and what the server is told. Without Qt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seamless_annotator.drafts import Drafts, folder_of_drafts
from seamless_annotator.numbering import Numbering
from seamless_annotator.server import Changed, Foreign, NotFound, Refused, Server


class Opened:
    """An image that is open.

    Attributes:
        name: of the image.
        image: (Z)YXC.
        numbers: (Z)YX int32, changed in place as the layer is, see :mod:`seamless_annotator.numbering`.
        version: of the label that is corrected; "" where there was none.
        edited: whether somebody has changed what was opened or proposed.
        proposed: whether it is a proposal that nobody has changed or submitted.
        told: what the annotator should know.
    """

    def __init__(self, name: str, image: np.ndarray, numbers: np.ndarray, version: str) -> None:
        self.name, self.image, self.numbers, self.version = name, image, numbers, version
        self.edited = self.proposed = False
        self.told = ""


class Session:
    """What a server offers, and the drafts.

    Args:
        server: is asked at once, and must be one of this bundle.

    Raises:
        Away, Refused: as :class:`seamless_annotator.server.Server`.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.about = server.about()
        self.numbering = Numbering(self.about["classes"])
        images = server.images()
        file = images[0]["file"] if images else ""
        self.drafts = Drafts(folder_of_drafts(server.address, self.about["studies"], file))

    def require_same(self) -> dict[str, Any]:
        """What the server is now.

        Raises:
            Foreign: when another one has taken its place, with other images or classes.
        """
        now = self.server.about()
        for key in ("studies", "classes"):
            if now[key] != self.about[key]:
                raise Foreign(
                    f"another server answers at {self.server.address}, with the {key} {now[key]} instead of "
                    f"{self.about[key]}: connect again; drafts stay in {self.drafts.folder}"
                )
        return now

    def images(self) -> list[dict[str, Any]]:
        """Those of the server; a draft or proposal that is kept here decides over the state."""
        kept = self.drafts.states()
        return [{**image, "state": kept.get(image["name"], image["state"])} for image in self.server.images()]

    def next(self, strategy: str, shown: str = "") -> dict[str, Any]:
        """The "image" without a label or a draft that the strategy chooses, other than the one that is shown."""
        drafts = [name for name, state in self.drafts.states().items() if state == "draft"]
        return self.server.next(strategy, [*drafts, shown])

    def open(self, name: str) -> Opened:
        """An image with its draft, else its label, else the proposal that the server has saved, else nothing."""
        self.require_same()
        image = self.server.image(name)
        label, told = self._label(name)
        shape = image.shape[:-1]
        version = label[2] if label else ""
        opened = Opened(name, image, np.zeros(shape, np.int32), version)
        found = self.drafts.load(name)
        if found is not None and self._fits(found, shape):
            opened.numbers, opened.edited = found[0].astype(np.int32), bool(found[1].get("edited", True))
            opened.version = str(found[1].get("version", ""))
            if opened.version != version:
                told.append("the label on the server has changed since this draft was begun")
            opened.proposed = not opened.edited
            told.insert(0, "the draft was restored" if opened.edited else "the proposal was restored")
        else:
            if found is not None:
                told.append(f"a draft of other classes or another size was kept as {self.drafts.set_aside(name)}")
            begin = label or self._original(name)
            if begin is not None and begin[0].shape != shape:
                told.append(f"its label is of another size, {begin[0].shape}: submit replaces it")
            elif begin is not None:
                opened.numbers = self.numbering.encode(*begin[:2])
        opened.told = "; ".join(told)
        return opened

    def keep(self, opened: Opened) -> None:
        """Write the draft of an image.

        Raises:
            OSError: when it cannot be written.
        """
        about = {"image": opened.name, "version": opened.version, "edited": opened.edited}
        self.drafts.save(opened.name, opened.numbers, {**about, "classes": self.about["classes"]})

    def proposed(self, opened: Opened, arrays: dict[str, np.ndarray]) -> Path | None:
        """Take over a proposal; it is kept as one that nobody has corrected yet.

        Returns:
            where an earlier draft with corrections is now.
        """
        if arrays["cells"].shape != opened.numbers.shape:
            raise Refused(f"image {opened.name!r} has changed on the server: open it again")
        kept = self.drafts.set_aside(opened.name) if self.drafts.state(opened.name) == "draft" else None
        opened.numbers[...] = self.numbering.encode(arrays["cells"], arrays["classes"])
        opened.edited, opened.proposed = False, True
        self.keep(opened)
        return kept

    def submit(self, opened: Opened) -> str:
        """Save the label on the server; what it says of it. The draft is there until then.

        Raises:
            Changed: when somebody else has submitted one since; a second call replaces it.
            Away, Refused: the draft stays.
        """
        self.keep(opened)
        self.require_same()
        try:
            told = self.server.submit(opened.name, *self.numbering.decode(opened.numbers), opened.version)
        except Changed as error:
            label = self.server.label(opened.name)
            opened.version = label[2] if label else ""
            self.keep(opened)
            raise Changed(f"{error}: look at theirs, or submit once more to replace it") from error
        except NotFound as error:
            raise NotFound(f"{error}; the draft stays in {self.drafts.folder}") from error
        opened.version, opened.edited, opened.proposed = told["version"], False, False
        self.drafts.discard(opened.name)
        parts = [f"{told['cells']} cells"]
        parts += [f"{told['not_annotated_px']} px not annotated"] if told.get("not_annotated_px") else []
        return ", ".join([*parts, *([told["warning"]] if "warning" in told else [])])

    def _label(self, name: str) -> tuple[Any, list[str]]:
        try:
            return self.server.label(name), []
        except Refused as error:
            return None, [f"its label cannot be read ({error})"]

    def _original(self, name: str) -> Any:
        try:
            return self.server.label(name, "original")
        except Refused:
            return None

    def _fits(self, found: tuple[np.ndarray, dict[str, Any]], shape: tuple[int, ...]) -> bool:
        return found[0].shape == shape and found[1].get("classes") == self.about["classes"]
