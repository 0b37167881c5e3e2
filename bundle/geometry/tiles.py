"""The tiles that cover an image: what each reads, and what it contributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundle.geometry.base import Geometry

__all__ = ["Tile", "TilePlan"]


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

    geometry: Geometry
    image_size: tuple[int, ...]
    tile_size: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of tiles along every axis."""
        return tuple(map(self.geometry.tiles_along, self.image_size, self.tile_size))

    def __len__(self) -> int:
        return prod(self.counts)

    def __iter__(self) -> Iterator[Tile]:
        axes = [list(self._axis(n, tile)) for n, tile in zip(self.image_size, self.tile_size, strict=True)]
        for spans in product(*axes):
            yield Tile(*(tuple(span[i] for span in spans) for i in range(3)))

    def _axis(self, n: int, tile: int) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
        margin, tile_step = self.geometry.margin, self.geometry.tile_step(tile)
        output = self.geometry.output_size(tile)
        done = 0
        for index in range(self.geometry.tiles_along(n, tile)):
            # the last tile moves back, still on the grid, so that it reaches as little as possible past the image
            beyond = -(-max(0, n - output) // self.geometry.step) * self.geometry.step
            start = min(index * tile_step, beyond)
            stop = min(start + output, n)
            yield (start - margin, start - margin + tile), (done, stop), (done - start, stop - start)
            done = stop
