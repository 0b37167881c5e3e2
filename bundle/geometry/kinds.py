"""The sizes of three kinds of network: valid convolutions, padded ones, and one window a pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from bundle.geometry.base import AxisGeometry


@dataclass(frozen=True)
class ValidGeometry(AxisGeometry):
    """Sizes of a U-Net of ``depth`` pooling steps with valid 3x3 convolutions.

    With depth n, two convolutions a level and a bottleneck input of m pixels (Ronneberger 2015, fig. 2)::

        input  = 2^n m + 4 (2^n - 1)          output = 2^n m - 4 (2^(n+1) - 1)

    so input - output = 12 * 2^n - 8 whatever m is: at the paper's depth of 4, 572 -> 388. An axis that the upper
    levels neither convolve nor pool (they are flat) has the sizes of a network with that many levels less.

    Args:
        depth: number of 2x2 poolings, at least 1. The paper's network has 4.
        flat_levels: number of upper levels, 0 .. ``depth`` + 1, that are flat along this axis; ``depth`` + 1 are all.

    Raises:
        ValueError: when ``depth`` is not a positive integer, or ``flat_levels`` out of range.

    Examples:
        >>> geometry = ValidGeometry(4)
        >>> geometry.output_size(572), geometry.margin, geometry.step
        (388, 92, 16)
        >>> geometry.input_size(512)
        700
    """

    depth: int
    flat_levels: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        require_positive("depth", self.depth)
        if (
            isinstance(self.flat_levels, bool)
            or not isinstance(self.flat_levels, int)
            or not 0 <= self.flat_levels <= self.depth + 1
        ):
            raise ValueError(
                f"flat_levels must be 0 .. {self.depth + 1} levels at depth {self.depth}, got {self.flat_levels!r}"
            )

    @cached_property
    def step(self) -> int:
        return 1 << max(0, self.depth - self.flat_levels)

    @cached_property
    def margin(self) -> int:
        return 0 if self.flat_levels > self.depth else 6 * self.step - 4

    @cached_property
    def smallest_input(self) -> int:
        if self.flat_levels > self.depth:
            return 1
        bottleneck = 1
        while self.step * bottleneck <= 4 * (2 * self.step - 1):
            bottleneck += 1
        return self.step * bottleneck + 4 * (self.step - 1)

    @property
    def rule(self) -> str:
        levels = f" with {self.flat_levels} flat level{'s' * (self.flat_levels > 1)}" if self.flat_levels else ""
        return f"at depth {self.depth}{levels}: valid sizes are {self.smallest_input} + k * {self.step}"

    @property
    def seamless(self) -> bool:
        return True


@dataclass(frozen=True)
class PaddedGeometry(AxisGeometry):
    """Sizes of a network with same padding: as much comes out as goes in, in multiples of ``stride``.

    The zeros around a tile reach into what it predicts, so tiles do not give what one pass gives: an image is
    covered by one tile only, mirrored beyond the image's end up to the next valid size.

    Args:
        stride: product of all strides on the way down, at least 1: 2^depth for a U-Net, 32 for an FCN-32s.

    Raises:
        ValueError: when ``stride`` is not a positive integer.

    Examples:
        >>> geometry = PaddedGeometry(16)
        >>> geometry.output_size(384), geometry.input_size(380), geometry.margin
        (384, 384, 0)
    """

    stride: int

    def __post_init__(self) -> None:
        require_positive("stride", self.stride)

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

    def why_not(self, image_size: int, tile_size: int) -> str:
        return (
            f"tile_size {tile_size} px is less than the image's {image_size} px: the zeros with which a padded network "
            f"surrounds each tile would show as seams, so one tile must hold the whole image; the smallest that can is "
            f"{self.input_size(image_size)}"
        )


@dataclass(frozen=True)
class WindowGeometry(AxisGeometry):
    """Sizes of a network that classifies the middle pixel of every window in its input.

    No pooling grid is left: each window gives the same at any place, so tiles may be shifted by any number of px.

    Args:
        window: side of the window in px, odd, so that it has a middle pixel.

    Raises:
        ValueError: when ``window`` is not a positive odd integer.

    Examples:
        >>> geometry = WindowGeometry(95)
        >>> geometry.output_size(95), geometry.input_size(512), geometry.margin
        (1, 606, 47)
    """

    window: int

    def __post_init__(self) -> None:
        require_positive("window", self.window)
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


def require_positive(name: str, value: int) -> None:
    """Check that a number of something is an integer of at least 1.

    Raises:
        ValueError: naming it and the nearest allowed value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1 (1 is the nearest), got {value!r}")
