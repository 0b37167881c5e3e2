"""Sizes of a network along every axis, and along one, as they follow from its margin and pooling step alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bundle.geometry.tiles import Span, TilePlan


class Geometry(ABC):
    """Sizes of a network whose output is smaller than its input by a constant along every axis. All in px.

    One that is the same along all axes is an :class:`AxisGeometry`, of images of any number of axes; one that differs
    is :class:`AxesGeometry`.
    """

    @abstractmethod
    def axes(self, count: int) -> tuple[AxisGeometry, ...]:
        """The sizes along each of ``count`` spatial axes.

        Raises:
            ValueError: when the network has another number of axes.
        """

    @property
    @abstractmethod
    def seamless(self) -> bool:
        """Whether tiles give what one pass over the whole mirrored image gives."""

    def margins(self, count: int) -> tuple[int, ...]:
        """Input minus output size on each side, of every axis."""
        return tuple(axis.margin for axis in self.axes(count))

    def output_sizes(self, size: Sequence[int]) -> tuple[int, ...]:
        """Output of an input of this spatial size.

        Raises:
            ValueError: as :meth:`require_valid`.
        """
        self.require_valid(*size)
        return tuple(axis.output_size(n) for axis, n in zip(self.axes(len(size)), size, strict=True))

    def input_sizes(self, size: Sequence[int]) -> tuple[int, ...]:
        """The smallest valid input whose output covers this spatial size."""
        return tuple(axis.input_size(n) for axis, n in zip(self.axes(len(size)), size, strict=True))

    def require_valid(self, *size: int, name: str = "input size") -> None:
        """Check the input size of every axis.

        Raises:
            ValueError: naming the axis, its size and the two nearest valid sizes.
        """
        for number, (axis, n) in enumerate(zip(self.axes(len(size)), size, strict=True)):
            if not axis.is_valid(n):
                below, above = axis.nearest_valid(n)
                where = f" along axis {number}" if len(size) > 1 else ""
                raise ValueError(f"{name} {n} px{where} is not valid {axis.rule}; the nearest are {below} and {above}")

    def plan(self, image_size: Sequence[int], tile_size: int | Sequence[int]) -> TilePlan:
        """The tiles that cover an image, every one shifted by a multiple of the step from a common origin.

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
        along = list(zip(self.axes(len(image)), image, tile, strict=True))
        for axis, n, size in along:
            if axis.tiles_along(n, size) == 0:
                raise ValueError(axis.why_not(n, size))
        return TilePlan(image, tile, tuple(tuple(axis.spans(n, size)) for axis, n, size in along))


class AxisGeometry(Geometry):
    """Sizes along one axis, or along every axis alike. All in px."""

    @property
    @abstractmethod
    def step(self) -> int:
        """Valid inputs lie ``step`` apart; tiles shifted by a multiple of it share one pooling grid."""

    @property
    @abstractmethod
    def margin(self) -> int:
        """Input minus output size on each side: the context a tile needs around what it predicts."""

    @property
    def halo(self) -> int:
        """The margin, rounded up to the step: what a block that begins on the pooling grid needs around it."""
        return -(-self.margin // self.step) * self.step

    @property
    @abstractmethod
    def smallest_input(self) -> int:
        """The smallest input from which at least one output pixel remains."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """Which input sizes are valid, in words: the end of an error message, after "is not valid"."""

    def axes(self, count: int) -> tuple[AxisGeometry, ...]:
        return (self,) * count

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

    def spans(self, image_size: int, tile_size: int) -> Iterator[Span]:
        """Input, output and crop of every tile along one axis, as :class:`bundle.geometry.Tile` has them.

        Each but the last contributes as much as tiles are apart: what is stored block by block has blocks of one size.
        """
        tile_step, output = self.tile_step(tile_size), self.output_size(tile_size)
        count = self.tiles_along(image_size, tile_size)
        for index in range(count):
            # the last tile moves back, still on the grid, so that it reaches as little as possible past the image
            beyond = -(-max(0, image_size - output) // self.step) * self.step
            start, done = min(index * tile_step, beyond), index * tile_step
            stop = done + tile_step if index < count - 1 else image_size
            before = start - self.margin
            yield (before, before + tile_size), (done, stop), (done - start, stop - start)

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

    def why_not(self, image_size: int, tile_size: int) -> str:
        """Why tiles of this size cannot cover the image, and the smallest that can."""
        candidates = range(tile_size, self.input_size(image_size) + 1, self.step)
        least = next(size for size in candidates if self.tiles_along(image_size, size))
        return (
            f"tile_size {tile_size} px gives an output of {self.output_size(tile_size)} px, less than the step of "
            f"{self.step}, and cannot cover {image_size} px; the smallest that can is {least}"
        )


@dataclass(frozen=True)
class AxesGeometry(Geometry):
    """Sizes of a network that differ from axis to axis, as those of a U-Net with flat levels.

    Args:
        each: sizes along every spatial axis.

    Examples:
        >>> from bundle.geometry import ValidGeometry
        >>> geometry = AxesGeometry((ValidGeometry(2), ValidGeometry(2), ValidGeometry(2, flat_levels=2)))
        >>> geometry.margins(3), geometry.input_sizes((40, 40, 9))
        ((20, 20, 2), (80, 80, 13))
    """

    each: tuple[AxisGeometry, ...]

    def axes(self, count: int) -> tuple[AxisGeometry, ...]:
        if count != len(self.each):
            raise ValueError(f"the network has {len(self.each)} spatial axes, got sizes of {count}")
        return self.each

    @property
    def seamless(self) -> bool:
        return all(axis.seamless for axis in self.each)
