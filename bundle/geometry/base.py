"""Sizes along an axis, what follows from a network's margin and pooling step alone, and the tiles of an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

__all__ = ["Geometry", "Tile", "TilePlan"]


class Geometry(ABC):
    """Sizes along one axis of a network whose output is smaller than its input by a constant. All in px."""

    @property
    @abstractmethod
    def step(self) -> int:
        """Valid inputs lie ``step`` apart; tiles shifted by a multiple of it share one pooling grid."""

    @property
    @abstractmethod
    def margin(self) -> int:
        """Input minus output size on each side: the context a tile needs around what it predicts."""

    @property
    @abstractmethod
    def smallest_input(self) -> int:
        """The smallest input from which at least one output pixel remains."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """Which input sizes are valid, in words: the end of an error message, after "is not valid"."""

    @property
    @abstractmethod
    def seamless(self) -> bool:
        """Whether tiles give what one pass over the whole mirrored image gives."""

    def is_valid(self, n: int) -> bool:
        """Whether an input of ``n`` px passes all poolings without losing a row and leaves an output."""
        return n >= self.smallest_input and (n - self.smallest_input) % self.step == 0

    def output_size(self, n: int) -> int:
        """Output size of an input of ``n`` px.

        Raises:
            ValueError: when ``n`` is not a valid input size; the message names the nearest valid ones.
        """
        self.require_valid(n)
        return n - 2 * self.margin

    def input_size(self, n: int) -> int:
        """The smallest valid input whose output covers ``n`` px.

        Raises:
            ValueError: when ``n`` is below 1.
        """
        if n < 1:
            raise ValueError(f"an output covers at least 1 px, got {n}")
        beyond = max(0, n + 2 * self.margin - self.smallest_input)
        return self.smallest_input + -(-beyond // self.step) * self.step

    def nearest_valid(self, n: int) -> tuple[int, int]:
        """The two valid input sizes nearest to ``n``: ``(below, above)``, equal when ``n`` is valid itself.

        Below the smallest input there is no smaller one: then they are the two smallest valid sizes.
        """
        if n < self.smallest_input:
            return self.smallest_input, self.smallest_input + self.step
        below = n - (n - self.smallest_input) % self.step
        return below, below if below == n else below + self.step

    def require_valid(self, *size: int, name: str = "input size") -> None:
        """Check the input size of every axis.

        Raises:
            ValueError: naming the axis, its size and the two nearest valid sizes.
        """
        for axis, n in enumerate(size):
            if not self.is_valid(n):
                below, above = self.nearest_valid(n)
                where = f" along axis {axis}" if len(size) > 1 else ""
                raise ValueError(f"{name} {n} px{where} is not valid {self.rule}; the nearest are {below} and {above}")

    def plan(self, image_size: Sequence[int], tile_size: int | Sequence[int]) -> TilePlan:
        """The tiles that cover an image, every one shifted by a multiple of ``step`` from a common origin.

        Args:
            image_size: spatial size of the image, each at least 1 px.
            tile_size: input size of a tile, one for all axes or one an axis.

        Raises:
            ValueError: for an empty image, another number of axes, and a tile size that is not valid or with which
                tiles cannot cover the image.
        """
        image = tuple(int(n) for n in image_size)
        tile = (int(tile_size),) * len(image) if isinstance(tile_size, int) else tuple(map(int, tile_size))
        if len(tile) != len(image):
            raise ValueError(f"tile_size has {len(tile)} axes {tile}, the image has {len(image)} {image}")
        if not image or min(image) < 1:
            raise ValueError(f"image_size must be at least 1 px along every axis, got {image}")
        self.require_valid(*tile, name="tile_size")
        for n, size in zip(image, tile, strict=True):
            if self.tiles_along(n, size) == 0:
                raise ValueError(self._why_not(n, size))
        return TilePlan(geometry=self, image_size=image, tile_size=tile)

    def tile_step(self, tile_size: int) -> int:
        """How far neighbouring tiles are apart: the output, cut down to a multiple of ``step``; 0 when they cannot.

        Stepping by the whole output (388) would shift the pooling grid of every tile and with it the result.
        The smallest tiles (output < ``step``) would not cover the image: they serve only where one tile does.
        """
        return self.output_size(tile_size) // self.step * self.step

    def tiles_along(self, image_size: int, tile_size: int) -> int:
        """Number of tiles along one axis; 0 when tiles of this size can never cover the image."""
        beyond = max(0, image_size - self.output_size(tile_size))
        if beyond == 0:
            return 1
        tile_step = self.tile_step(tile_size)
        return 1 + -(-beyond // tile_step) if tile_step else 0

    def tile_sizes(self, image_size: int) -> list[int]:
        """For every number of tiles 1, 2, 3, ... along an axis the smallest tile that does; largest first."""
        sizes = []
        n = self.input_size(image_size)
        while n >= self.smallest_input:
            count = self.tiles_along(image_size, n)
            if count == 0:
                break
            while self.is_valid(n - self.step) and self.tiles_along(image_size, n - self.step) == count:
                n -= self.step
            sizes.append(n)
            n -= self.step
        return sizes

    def _why_not(self, image_size: int, tile_size: int) -> str:
        """Why tiles of this size cannot cover the image, and the smallest that can."""
        candidates = range(tile_size, self.input_size(image_size) + 1, self.step)
        least = next(size for size in candidates if self.tiles_along(image_size, size))
        return (
            f"tile_size {tile_size} px gives an output of {self.output_size(tile_size)} px, less than the step of "
            f"{self.step}, and cannot cover {image_size} px; the smallest that can is {least}"
        )


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
