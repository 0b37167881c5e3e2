"""An image on the disk of which only parts are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np

from bundle.data.channel_names import StatedChannels
from bundle.data.errors import ImageError, unreadable

#: px along each side of a region of one slice, about
_REGION = 2048


class Pixels(Protocol):
    """One level of an image, as it is stored."""

    @property
    def axes(self) -> str:
        """A letter an axis, such as "TCZYX"."""

    @property
    def shape(self) -> tuple[int, ...]:
        """px along each."""

    @property
    def parts(self) -> tuple[int, ...]:
        """px along each of what is read at once at least, such as a chunk or a strip."""

    @property
    def dtype(self) -> np.dtype:
        """Of the pixels."""

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """The pixels of a region, in the stored order of axes."""

    def identity(self) -> dict[str, object]:
        """What tells this image from others without reading its pixels, for a person and for a comparison."""


def _image_axes(axes: str, shape: Sequence[int]) -> tuple[str, ...]:
    """Letters of x, y and slices, the axes longer than 1 that are neither these nor channels."""
    return ("X", "Y", *(letter for letter, n in zip(axes, shape, strict=True) if letter not in "XYCS" and n > 1))


def image_spacing(pixels: Pixels, um: Sequence[float] | None) -> tuple[float, ...] | None:
    """That along x, y[, slices], of the spacing along every stored axis."""
    if um is None:
        return None
    return tuple(float(um[pixels.axes.index(letter)]) for letter in _image_axes(pixels.axes, pixels.shape))


@dataclass(frozen=True)
class LazyImage:
    """One level of an image, in the order of axes that all of this bundle has: (channels, x, y[, slices]).

    Attributes:
        path: of the file or store.
        pixels: as they are stored.
        stated: channels, without opacity.
        spacing: µm between pixels along x, y[, slices]; None where nobody states it.
        black: value that is black, where a file stores white as 0.

    Raises:
        ImageError: for axes that are no image, complex numbers, or several time points of a volume.
    """

    path: str
    pixels: Pixels
    stated: StatedChannels
    spacing: tuple[float, ...] | None = None
    black: int | None = None

    def __post_init__(self) -> None:
        axes = self.pixels.axes
        if not all(axes.count(letter) == 1 for letter in "XY"):
            raise ImageError(self.path, f"its axes {axes} are no image")
        if self.pixels.dtype.kind not in "buif":
            raise ImageError(self.path, f"its pixels are {self.pixels.dtype}: save them as numbers")
        if len(self._axes) > 3:
            raise ImageError(
                self.path,
                f"it has several axes besides x, y and channels ({axes} of {self.pixels.shape}): save each time point "
                "by itself",
            )

    @property
    def size(self) -> tuple[int, ...]:
        """px along x, y[, slices]."""
        return tuple(self.pixels.shape[self.pixels.axes.index(letter)] for letter in self._axes)

    @property
    def slice_axis(self) -> str:
        """Name of the axis of slices, "z" or "t"; empty for a single plane."""
        return "".join("t" if letter == "T" else "z" for letter in self._axes[2:])

    @property
    def _axes(self) -> tuple[str, ...]:
        return _image_axes(self.pixels.axes, self.pixels.shape)

    def read(self, spans: Sequence[tuple[int, int]]) -> np.ndarray:
        """The pixels between (start, stop) along x, y[, slices], inside the image.

        Returns:
            (channels, x, y[, slices]) float32, as viewers show it.

        Raises:
            UnreadableImageError: for a part that is missing or damaged.
            ImageError: for pixels that are NaN or infinite.
        """
        axes = self.pixels.axes
        wanted = dict(zip(self._axes, spans, strict=True))
        region = tuple(slice(*wanted.get(letter, (0, n))) for letter, n in zip(axes, self.pixels.shape, strict=True))
        with unreadable(self.path, f"its part {self.told(spans)} cannot be read"):
            found = self.pixels.read(region)
        channels = [axis for axis, letter in enumerate(axes) if letter in "CS"]
        order = [axes.index(letter) for letter in wanted]
        rest = [axis for axis in range(len(axes)) if axis not in channels + order]
        found = found.transpose([*rest, *channels, *order])  # of the rest, each is 1 long
        sides = found.shape[len(rest) + len(channels) :]
        found = found.reshape(-1, *sides)[: self.stated.count].astype(np.float32)  # without opacity
        if not bool(np.isfinite(found).all()):
            raise ImageError(self.path, f"pixels are NaN or infinite in its part {self.told(spans)}")
        return found if self.black is None else np.float32(self.black) - found

    @staticmethod
    def told(spans: Sequence[tuple[int, int]]) -> str:
        """A region for a message."""
        return ", ".join(f"{letter} {a} to {b - 1}" for letter, (a, b) in zip("xyz", spans, strict=False))

    def regions(self) -> Iterator[tuple[tuple[int, int], ...]]:
        """Spans along x, y[, slices] of parts that together are the image, each of whole chunks."""
        size = self.size
        x, y, *depth = (self.pixels.parts[self.pixels.axes.index(letter)] for letter in self._axes)
        room = max(1.0, _REGION**2 / math.prod(depth))
        y *= max(1, round(min(room**0.5, size[1]) / y))
        x *= max(1, round(min(room / y, size[0]) / x))
        y *= max(1, round(room / (x * y)))
        along = [
            [(a, min(a + step, n)) for a in range(0, n, step)] for step, n in zip((x, y, *depth), size, strict=True)
        ]
        for *slices, spans_y, spans_x in product(*reversed(along)):
            yield (spans_x, spans_y, *slices)
