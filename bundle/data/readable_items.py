"""The items of a folder one after the other, past those that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from monai.data import IterableDataset
from torch.utils.data import get_worker_info

from bundle.data.errors import ImageError, image_error, shortage
from bundle.data.item import Item

_LOG = logging.getLogger(__name__)


class Behind(Protocol):
    """What does the last part of the work in a thread; see :class:`bundle.inference.write_behind.WriteBehind`."""

    place: int
    alone: bool
    failed: tuple[int, BaseException] | None

    def wait(self) -> None:
        """Until all is done; raises what failed."""

    def settle(self) -> None:
        """Until all is done, or has failed."""


class ReadableItems(IterableDataset):
    """The items of a datalist, transformed; files that cannot be used are noted and skipped.

    For inference over a folder: one broken file must cost neither the others nor its mention at the end, nor must two
    files of one name, whose results would replace each other. Only :class:`ImageError` is skipped; a defect of a
    transform still stops.

    Args:
        data: datalist.
        transform: applied to each item, usually a ``Compose`` that begins with :class:`LoadSliced`. The next item is
            transformed in a thread while one is in use.
        behind: does the last part of the work in a thread, such as :class:`bundle.inference.write_behind.WriteBehind`.
        alone: tells of a path whether this image must be the only one in memory: it is read when all before it are
            done, and none beside it.

    Attributes:
        failed: (path, reason) of every file skipped in the current or last pass.
    """

    def __init__(
        self,
        data: Sequence[Item],
        transform: Any,
        behind: Behind | None = None,
        alone: Callable[[str], bool] = lambda path: True,
    ) -> None:
        super().__init__(data, transform)
        self.behind, self.alone = behind, alone
        self.failed: list[tuple[str, str]] = []
        self._position: int | None = None

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            raise ValueError("ReadableItems notes failures in this process: set num_workers to 0")
        self.failed = []
        if self.behind is not None:
            self.behind.failed = None
        of_name: dict[str, set[str]] = {}
        for item in self.data:
            of_name.setdefault(item.get("name", item["image"]), set()).add(item["image"])
        items = list(self.data)
        ahead: Future[Any] | None = None
        with ThreadPoolExecutor(1, "read-ahead") as reader:
            for position, item in enumerate(items):
                self._position = position
                alone = ahead is None and self.alone(item["image"])
                if self.behind is not None:
                    if alone:
                        self.behind.wait()
                    self.behind.place, self.behind.alone = position, alone
                transformed = []
                try:
                    transformed.append(self._read(item, of_name) if ahead is None else ahead.result())
                except Exception as error:
                    broken = image_error(error)
                    if broken is None:
                        raise
                    _LOG.error("skipped %s", broken)
                    self.failed.append((broken.path, broken.reason))
                ahead = None
                if not alone and position + 1 < len(items) and not self.alone(items[position + 1]["image"]):
                    ahead = reader.submit(self._read, items[position + 1], of_name)
                if transformed:
                    yield transformed.pop()  # kept here, it would take memory for as long as it is in use

    def _read(self, item: Item, of_name: Mapping[str, set[str]]) -> Any:
        _require_own_name(item["image"], of_name[item.get("name", item["image"])])
        return self.transform(item)  # type: ignore[misc]

    def finish(self, work: Callable[[], object]) -> None:
        """Do what goes through all items once, and say at the end what is not done.

        Raises:
            RuntimeError: naming every skipped file; for a full disk or too little memory, the image that it
                happened to and those that were left.
        """
        position, error = self._failure(work)
        if error is not None:
            reason = shortage(error)
            if reason is None or position is None:
                raise error
            _LOG.debug("stopped", exc_info=error)
            path, *left = [item["image"] for item in list(self.data)[position:]]
            self.failed = [one for one in self.failed if one[0] not in (path, *left)]  # those were read ahead
            rest = f"and {len(left)} left of {len(list(self.data))} ({', '.join(left)}) " if left else ""
            skipped = f"; skipped before: {self._skipped()}" if self.failed else ""
            raise RuntimeError(
                f"stopped at {path}: {reason}. It {rest}{'are' if left else 'is'} not done, the results before it are "
                f"complete{skipped}"
            )
        if self.failed:
            count = f"{len(self.failed)} of {len(list(self.data))}"
            raise RuntimeError(f"{count} images could not be used: {self._skipped()}")

    def _failure(self, work: Callable[[], object]) -> tuple[int | None, BaseException | None]:
        """What stopped ``work``, and at which item; the images before it are done."""
        self._position, error = None, None
        try:
            work()
        except Exception as raised:
            error = raised
        finally:
            if self.behind is not None:
                self.behind.settle()
        if self.behind is not None and self.behind.failed is not None:
            return self.behind.failed  # of an image before the one that was read last
        return self._position, error

    def _skipped(self) -> str:
        return "; ".join(f"{path} ({reason})" for path, reason in self.failed)


def _require_own_name(path: str, of_name: set[str]) -> None:
    if len(of_name) > 1:
        others = " and ".join(sorted(of_name - {path}))
        raise ImageError(path, f"its results would have the same name as those of {others}: rename one")
