"""A stored map of one image, and the blocks in which it is worked on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from bundle.large.result_store import spans_to_region

__all__ = ["Grid", "Plane", "Spans", "inside"]

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plane:
    """An array on the disk as one image, (x, y[, z]); of a stack of slices, one slice of it.

    Attributes:
        array: stored in reverse order of axes.
        index: of the slice; None: the whole array.
    """

    array: Any
    index: int | None = None

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(reversed(self.array.shape))[: None if self.index is None else 2]

    def read(self, spans: Spans) -> np.ndarray:
        found = np.asarray(self.array[self._region(spans)]).T
        return found if self.index is None else found[..., 0]

    def write(self, spans: Spans, content: np.ndarray) -> None:
        self.array[self._region(spans)] = (content if self.index is None else content[..., None]).T

    def _region(self, spans: Spans) -> tuple[slice, ...]:
        return spans_to_region(spans if self.index is None else (*spans, (self.index, self.index + 1)))


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
