"""The items of a folder one after the other, past those that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from monai.data import IterableDataset
from torch.utils.data import get_worker_info

from bundle.data.errors import ImageError, image_error, shortage
from bundle.data.item import Item

__all__ = ["ReadableItems"]

_LOG = logging.getLogger(__name__)


class ReadableItems(IterableDataset):
    """The items of a datalist, transformed; files that cannot be used are noted and skipped.

    For inference over a folder: one broken file must cost neither the others nor its mention at the end, nor must two
    files of one name, whose results would replace each other. Only :class:`ImageError` is skipped; a defect of a
    transform still stops.

    Args:
        data: datalist.
        transform: applied to each item, usually a ``Compose`` that begins with :class:`LoadSliced`.

    Attributes:
        failed: (path, reason) of every file skipped in the current or last pass.
    """

    def __init__(self, data: Sequence[Item], transform: Any) -> None:
        super().__init__(data, transform)
        self.failed: list[tuple[str, str]] = []
        self._position: int | None = None

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            raise ValueError("ReadableItems notes failures in this process: set num_workers to 0")
        self.failed = []
        of_name: dict[str, set[str]] = {}
        for item in self.data:
            of_name.setdefault(item.get("name", item["image"]), set()).add(item["image"])
        for position, item in enumerate(self.data):
            self._position = position
            try:
                _require_own_name(item["image"], of_name[item.get("name", item["image"])])
                transformed = [self.transform(item)]  # type: ignore[misc]
            except Exception as error:
                broken = image_error(error)
                if broken is None:
                    raise
                _LOG.error("skipped %s", broken)
                self.failed.append((broken.path, broken.reason))
                continue
            yield transformed.pop()  # kept here, it would take memory for as long as it is in use

    def finish(self, work: Callable[[], object]) -> None:
        """Do what goes through all items once, and say at the end what is not done.

        Raises:
            RuntimeError: naming every skipped file; for a full disk or too little memory, the image that it
                happened to and those that were left.
        """
        self._position = None
        try:
            work()
        except Exception as error:
            reason = shortage(error)
            if reason is None or self._position is None:
                raise
            _LOG.debug("stopped", exc_info=error)
            path, *left = [item["image"] for item in list(self.data)[self._position :]]
            rest = f"and {len(left)} left of {len(list(self.data))} ({', '.join(left)}) " if left else ""
            skipped = f"; skipped before: {self._skipped()}" if self.failed else ""
            raise RuntimeError(
                f"stopped at {path}: {reason}. It {rest}{'are' if left else 'is'} not done, the results before it are "
                f"complete{skipped}"
            ) from None
        if self.failed:
            count = f"{len(self.failed)} of {len(list(self.data))}"
            raise RuntimeError(f"{count} images could not be used: {self._skipped()}")

    def _skipped(self) -> str:
        return "; ".join(f"{path} ({reason})" for path, reason in self.failed)


def _require_own_name(path: str, of_name: set[str]) -> None:
    if len(of_name) > 1:
        others = " and ".join(sorted(of_name - {path}))
        raise ImageError(path, f"its results would have the same name as those of {others}: rename one")
