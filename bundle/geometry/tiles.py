"""The tiles of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

#: (start, stop) of a tile's input, output and crop along one axis, see :class:`Tile`
Span = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Tile:
    """One tile of a plan, in px of the image; negative and overhanging positions are mirrored.

    Attributes:
        input: (start, stop) of the tile's input along every axis.
        output: (start, stop) of what the tile contributes to the image along every axis; the contributions of
            all tiles cover every pixel once.
        crop: (start, stop) of that contribution inside the tile's output.
    """

    input: tuple[tuple[int, int], ...]
    output: tuple[tuple[int, int], ...]
    crop: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TilePlan:
    """All tiles of one image on one canvas. Iterate to get each :class:`Tile`, in row-major order.

    Made by :meth:`bundle.geometry.Geometry.plan`, which checks the sizes.
    """

    image_size: tuple[int, ...]
    tile_size: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of tiles along every axis."""
        return tuple(map(len, self.spans))

    def __len__(self) -> int:
        return prod(self.counts)

    def __iter__(self) -> Iterator[Tile]:
        return self.over(tuple((0, n) for n in self.image_size))

    def over(self, region: tuple[tuple[int, int], ...]) -> Iterator[Tile]:
        """The tiles that contribute to a region, (start, stop) along every axis, and what each does."""
        along = [
            [
                (read, (max(a, start), min(b, stop)), (first + max(0, start - a), first + min(b, stop) - a))
                for read, (a, b), (first, _) in spans
                if a < stop and b > start
            ]
            for spans, (start, stop) in zip(self.spans, region, strict=True)
        ]
        for spans in product(*along):
            yield Tile(*(tuple(span[i] for span in spans) for i in range(3)))
