"""Every size of a network: margins, valid inputs, outputs, tile plans, mirrored indices.

This module is the only home of that arithmetic, and needs nothing but the standard library. The networks, the
inferer, the crops, the configs and the error messages ask it.

A network has a :class:`ValidGeometry` when none of its convolutions is padded, and a :class:`PaddedGeometry` when
zeros keep every map at its size. Only the first can be tiled without seams, and so can a :class:`WindowGeometry`, of a
network that classifies one pixel a window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bundle.tiles import Tile, TilePlan

__all__ = ["Geometry", "PaddedGeometry", "Tile", "TilePlan", "ValidGeometry", "WindowGeometry", "mirror_indices"]


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
        """Which input sizes are valid, in words: what an error message goes on with after "is not valid"."""

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
class ValidGeometry(Geometry):
    """Sizes of a U-Net of ``depth`` pooling steps with valid 3x3 convolutions.

    With depth n, two convolutions a level and a bottleneck input of m pixels (Ronneberger 2015, fig. 2)::

        input  = 2^n m + 4 (2^n - 1)          output = 2^n m - 4 (2^(n+1) - 1)

    so input - output = 12 * 2^n - 8 whatever m is: at the paper's depth of 4, 572 -> 388.

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
        _require_positive("depth", self.depth)

    @cached_property
    def step(self) -> int:
        return 2**self.depth

    @cached_property
    def margin(self) -> int:
        return 6 * self.step - 4

    @cached_property
    def smallest_input(self) -> int:
        bottleneck = 1
        while self.step * bottleneck <= 4 * (2 * self.step - 1):
            bottleneck += 1
        return self.step * bottleneck + 4 * (self.step - 1)

    @property
    def rule(self) -> str:
        return f"at depth {self.depth}: valid sizes are {self.smallest_input} + k * {self.step}"

    @property
    def seamless(self) -> bool:
        return True


@dataclass(frozen=True)
class PaddedGeometry(Geometry):
    """Sizes of a network with same padding: as much comes out as goes in, in multiples of ``stride``.

    The zeros around a tile reach into what it predicts, so tiles do not give what one pass gives: an image is
    covered by one tile only, mirrored beyond the image's end up to the next valid size.

    Args:
        stride: product of all strides on the way down, at least 1: 2^depth for a U-Net, 32 for an FCN-32s.

    Raises:
        ValueError: when ``stride`` is not a positive integer.

    Example:
        >>> geometry = PaddedGeometry(16)
        >>> geometry.output_size(384), geometry.input_size(380), geometry.margin
        (384, 384, 0)
    """

    stride: int

    def __post_init__(self) -> None:
        _require_positive("stride", self.stride)

    @property
    def step(self) -> int:
        return self.stride

    @property
    def margin(self) -> int:
        return 0

    @property
    def smallest_input(self) -> int:
        return self.step

    @property
    def rule(self) -> str:
        return f"with same padding: valid sizes are multiples of {self.step}"

    @property
    def seamless(self) -> bool:
        return False

    def tile_step(self, tile_size: int) -> int:
        return 0

    def _why_not(self, image_size: int, tile_size: int) -> str:
        return (
            f"tile_size {tile_size} px is less than the image's {image_size} px: the zeros with which a padded network "
            f"surrounds each tile would show as seams, so one tile must hold the whole image; the smallest that can is "
            f"{self.input_size(image_size)}"
        )


@dataclass(frozen=True)
class WindowGeometry(Geometry):
    """Sizes of a network that classifies the middle pixel of every window in its input.

    No pooling grid is left: each window gives the same wherever it lies, so tiles may be shifted by any number of px.

    Args:
        window: side of the window in px, odd, so that it has a middle pixel.

    Raises:
        ValueError: when ``window`` is not a positive odd integer.

    Example:
        >>> geometry = WindowGeometry(95)
        >>> geometry.output_size(95), geometry.input_size(512), geometry.margin
        (1, 606, 47)
    """

    window: int

    def __post_init__(self) -> None:
        _require_positive("window", self.window)
        if self.window % 2 == 0:
            raise ValueError(
                f"window must be odd, got {self.window}; the nearest are {self.window - 1} and {self.window + 1}"
            )

    @property
    def step(self) -> int:
        return 1

    @property
    def margin(self) -> int:
        return (self.window - 1) // 2

    @property
    def smallest_input(self) -> int:
        return self.window

    @property
    def rule(self) -> str:
        return f"for a window of {self.window} px: valid sizes are {self.window} and all above"

    @property
    def seamless(self) -> bool:
        return True


def _require_positive(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1 (1 is the nearest), got {value!r}")


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
