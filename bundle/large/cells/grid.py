"""A stored map of one image, and the blocks in which it is worked on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from bundle.large.result_store import spans_to_region

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plane:
    """An array on the disk as one image, ([classes, ]x, y[, z]); of a stack of slices, one slice of it.

    Attributes:
        array: stored in reverse order of axes.
        index: of the slice; None: the whole array.
        classes: the stored axis of classes, counted from the first; None: there is none.
    """

    array: Any
    index: int | None = None
    classes: int | None = None

    @property
    def size(self) -> tuple[int, ...]:
        sides = [n for axis, n in enumerate(self.array.shape) if axis != self.classes]
        return tuple(reversed(sides))[: None if self.index is None else 2]

    def read(self, spans: Spans) -> np.ndarray:
        found = np.asarray(self.array[self.region(spans)])
        if self.classes is not None:
            found = np.moveaxis(found, self.classes, -1)
        found = found.T
        return found if self.index is None else found[..., 0]

    def write(self, spans: Spans, content: np.ndarray) -> None:
        stored = (content if self.index is None else content[..., None]).T
        self.array[self.region(spans)] = stored if self.classes is None else np.moveaxis(stored, -1, self.classes)

    def region(self, spans: Spans) -> tuple[slice, ...]:
        """Of the array as it is stored."""
        found = list(spans_to_region(spans if self.index is None else (*spans, (self.index, self.index + 1))))
        if self.classes is not None:
            found.insert(self.classes, slice(0, self.array.shape[self.classes]))
        return tuple(found)


@dataclass(frozen=True)
class Grid:
    """Blocks of one size that cover an image.

    Attributes:
        size: of the image, px.
        block: of a block, px; a multiple of the chunks of what is written.
    """

    size: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(-(-n // side) for n, side in zip(self.size, self.block, strict=True))

    def __iter__(self) -> Iterator[Spans]:
        return (self._spans(place) for place in product(*map(range, self.counts)))

    def over(self, spans: Spans) -> Iterator[tuple[int, Spans]]:
        """Number and spans of the blocks that a region touches, and of their parts in it."""
        along = [range(a // side, -(-b // side)) for (a, b), side in zip(spans, self.block, strict=True)]
        for place in product(*along):
            number = int(np.ravel_multi_index(place, self.counts))
            there = self._spans(place)
            yield number, tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(spans, there, strict=True))

    def wider(self, spans: Spans, by: int = 1) -> Spans:
        """A region with its surroundings, inside the image."""
        return tuple((max(0, a - by), min(n, b + by)) for (a, b), n in zip(spans, self.size, strict=True))

    def _spans(self, place: Sequence[int]) -> Spans:
        along = zip(place, self.block, self.size, strict=True)
        return tuple((at * side, min((at + 1) * side, n)) for at, side, n in along)


def inside(spans: Spans, of: Spans) -> tuple[slice, ...]:
    """Where a region lies in an array of another one that holds it."""
    return tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(spans, of, strict=True))
