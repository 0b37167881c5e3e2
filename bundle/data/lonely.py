"""Images without label and labels without image: refused, or left to whoever looks at a folder that is not ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from bundle.console import listed
from bundle.data.formats import natural_key

_REFUSED: ContextVar[list[ValueError] | None] = ContextVar("refused", default=None)


@contextmanager
def refused() -> Iterator[list[ValueError]]:
    """Within, a datalist of a folder has images that lack a fitting label, too, as items without "label".

    Yields:
        why a training would refuse the folder; an error for each reason, filled when the datalist is made.
    """
    reasons: list[ValueError] = []
    before = _REFUSED.set(reasons)
    try:
        yield reasons
    finally:
        _REFUSED.reset(before)


def refuse(error: ValueError) -> None:
    """Raise the error, or keep it within :func:`refused`: once, as a datalist may be made twice."""
    reasons = _REFUSED.get()
    if reasons is None:
        raise error
    if str(error) not in map(str, reasons):
        reasons.append(error)


def refuse_lonely(images: Mapping[str, Path], labels: Mapping[str, Path], label_dir: Path, image_dir: Path) -> None:
    """Refuse images without a label of the same name, and labels without an image; both are name -> file.

    Raises:
        ValueError: naming the first of them and what to do, as :func:`refuse`.
    """
    renamed = _refuse(images, labels, "image", "label", label_dir)
    if not renamed:  # else both would say the same
        _refuse(labels, images, "label", "image", image_dir)


def _refuse(files: Mapping[str, Path], others: Mapping[str, Path], kind: str, other: str, folder: Path) -> bool:
    """Whether the others are there under another name."""
    names = sorted(files.keys() - others.keys(), key=natural_key)
    if not names:
        return False
    lonely = f"{len(names)} {kind}s have" if len(names) > 1 else f"1 {kind} has"
    free = sorted(others.keys() - files.keys(), key=natural_key)
    alike = [(name, each) for name in names[:5] for each in free if _begins_or_ends_with(name, each)]
    if alike:
        name, each = alike[0]
        advice = f"{others[each].name} seems to belong to {files[name].name}: give both one name, and so all others"
    elif other == "label":
        them = "them" if len(names) > 1 else "it"
        advice = f"annotate {them} (one without cells needs a label of zeros), or move {them} to another folder"
    else:
        image, label = ("images", "these labels") if len(names) > 1 else ("image", "this label")
        advice = f"put the {image} there, or move {label} to another folder"
    refuse(ValueError(f"{lonely} no {other} of the same name in {folder}: {listed(names, 5)}; {advice}"))
    return bool(alike)


def _begins_or_ends_with(one: str, other: str) -> bool:
    part, whole = sorted((one, other), key=len)
    return whole.startswith(part) or whole.endswith(part)
