"""Every size of a U-Net with valid convolutions: margins, valid inputs, outputs, tile plans, mirrored indices.

This module is the only home of that arithmetic, and needs nothing but the standard library. The network, the
inferer, the crops, the configs and the error messages ask it.

With depth n, two valid 3x3 convolutions a level and a bottleneck input of m pixels (Ronneberger 2015, fig. 2)::

    input  = 2^n m + 4 (2^n - 1)          output = 2^n m - 4 (2^(n+1) - 1)

so input - output = 12 * 2^n - 8 whatever m is: at the paper's depth of 4, 572 -> 388.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

__all__ = ["Tile", "TilePlan", "ValidGeometry", "mirror_indices"]


@dataclass(frozen=True)
class ValidGeometry:
    """Sizes along one axis of a U-Net of ``depth`` pooling steps with valid 3x3 convolutions. All in px.

    Args:
        depth: number of 2x2 poolings, at least 1. The paper's network has 4.

    Raises:
        ValueError: when ``depth`` is not a positive integer.

    Example:
        >>> geometry = ValidGeometry(4)
        >>> geometry.output_size(572), geometry.margin, geometry.step
        (388, 92, 16)
        >>> geometry.input_size(512)
        700
    """

    depth: int

    def __post_init__(self) -> None:
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or self.depth < 1:
            raise ValueError(f"depth must be an integer of at least 1 (1 is the nearest), got {self.depth!r}")

    @cached_property
    def step(self) -> int:
        """Valid inputs lie ``step`` = 2^depth apart; tiles shifted by a multiple of it share one pooling grid."""
        return 2**self.depth

    @cached_property
    def margin(self) -> int:
        """Input minus output size on each side: the context a tile needs around what it predicts."""
        return 6 * self.step - 4

    @cached_property
    def smallest_input(self) -> int:
        """The smallest input from which at least one output pixel remains."""
        bottleneck = 1
        while self.step * bottleneck <= 4 * (2 * self.step - 1):
            bottleneck += 1
        return self.step * bottleneck + 4 * (self.step - 1)

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
                raise ValueError(
                    f"{name} {n} px{where} is not valid at depth {self.depth}: valid sizes are "
                    f"{self.smallest_input} + k * {self.step}; the nearest are {below} and {above}"
                )

    def plan(self, image_size: Sequence[int], tile_size: int | Sequence[int]) -> TilePlan:
        """The tiles that cover an image, every one shifted by a multiple of ``step`` from a common origin.

        Args:
            image_size: spatial size of the image, each at least 1 px.
            tile_size: input size of a tile, one for all axes or one an axis.

        Raises:
            ValueError: for an empty image, a tile size that is not valid, or another number of axes.
        """
        image = tuple(int(n) for n in image_size)
        tile = (int(tile_size),) * len(image) if isinstance(tile_size, int) else tuple(map(int, tile_size))
        if len(tile) != len(image):
            raise ValueError(f"tile_size has {len(tile)} axes {tile}, the image has {len(image)} {image}")
        if not image or min(image) < 1:
            raise ValueError(f"image_size must be at least 1 px along every axis, got {image}")
        self.require_valid(*tile, name="tile_size")
        return TilePlan(geometry=self, image_size=image, tile_size=tile)

    def tile_step(self, tile_size: int) -> int:
        """How far neighbouring tiles are apart: the output, cut down to a multiple of ``step``.

        Stepping by the whole output (388) would shift the pooling grid of every tile and with it the result.
        The smallest tiles (output < ``step``) still step by ``step`` only where their output covers it: they
        cannot, so they serve only images that one tile covers.
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
    """All tiles of one image on one canvas. Iterate to get each :class:`Tile`, in row-major order."""

    geometry: ValidGeometry
    image_size: tuple[int, ...]
    tile_size: tuple[int, ...]

    def __post_init__(self) -> None:
        for n, tile in zip(self.image_size, self.tile_size, strict=True):
            if self.geometry.tiles_along(n, tile) == 0:
                least = next(
                    size
                    for size in range(tile, self.geometry.input_size(n) + 1, self.geometry.step)
                    if self.geometry.tiles_along(n, size)
                )
                raise ValueError(
                    f"tile_size {tile} px gives an output of {self.geometry.output_size(tile)} px, less than the "
                    f"step of {self.geometry.step}, and cannot cover {n} px; the smallest that can is {least}"
                )

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of tiles along every axis."""
        return tuple(map(self.geometry.tiles_along, self.image_size, self.tile_size))

    def __len__(self) -> int:
        total = 1
        for count in self.counts:
            total *= count
        return total

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


def mirror_indices(start: int, stop: int, n: int) -> list[int]:
    """Positions in an axis of ``n`` px for the range ``start`` .. ``stop``, mirrored at both ends.

    The edge is not repeated (numpy's "reflect"): ... 2 1 | 0 1 2 ... n-1 | n-2 ... The range may reach further
    than the axis is long: it is mirrored again and again. An axis of a single pixel repeats it.

    Example:
        >>> mirror_indices(-3, 6, 3)
        [1, 2, 1, 0, 1, 2, 1, 0, 1]
    """
    if n < 1:
        raise ValueError(f"cannot mirror an axis of {n} px: it must have at least 1")
    period = max(1, 2 * (n - 1))
    return [min(i % period, period - i % period) if n > 1 else 0 for i in range(start, stop)]
