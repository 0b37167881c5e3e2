"""TIFF of any size, read part by part: its levels, and the pixels of one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bundle.data.channel_names import channels_of_tiff
from bundle.data.errors import ImageError, unreadable
from bundle.data.formats import black_value, open_tiff, tiff_series
from bundle.data.pixel_size import stated_size
from bundle.data.plausible import require_segments
from bundle.data.stores.lazy_image import LazyImage, image_spacing
from bundle.data.stores.ome_zarr import require_zarr

#: bytes of one compressed part, unpacked: a larger one would have to be unpacked for every block that touches it
_LARGEST_PART = 2**28


@dataclass
class TiffPixels:
    """One level of a TIFF, 0 is the largest. Where it is stored in one piece, uncompressed, only the pixels asked for
    are read."""

    path: str
    level: int
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def parts(self) -> tuple[int, ...]:
        if self._offset is not None:
            return (1,) * len(self.shape)
        return tuple(self._array.chunks)

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        if self._offset is not None:
            stored = self.dtype.newbyteorder(">" if self._file.byteorder == ">" else "<")
            # opened and let go each time, so that what was read does not count as memory of this process
            mapped = np.memmap(self.path, stored, mode="r", offset=self._offset, shape=self.shape)
            return np.array(mapped[region], dtype=self.dtype)
        return np.asarray(self._array[region])

    def identity(self) -> dict[str, object]:
        size = Path(self.path).stat().st_size
        return {"level": self.level, "shape": list(self.shape), "dtype": str(self.dtype), "bytes": size}

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file: another process opens it by itself."""
        opened = ("_file", "_offset", "_array")
        return {name: value for name, value in self.__dict__.items() if name not in opened}

    @cached_property
    def _file(self) -> tifffile.TiffFile:
        return open_tiff(self.path)

    @cached_property
    def _offset(self) -> int | None:
        """Where the pixels begin, if they lie there as an array does."""
        return tiff_series(self._file).levels[self.level].dataoffset

    @cached_property
    def _array(self) -> Any:
        array = require_zarr().open_array(tiff_series(self._file).aszarr(level=self.level), mode="r")
        part = math.prod(array.chunks) * self.dtype.itemsize
        if part > _LARGEST_PART:
            raise ImageError(
                self.path,
                f"its pixels are compressed in parts of {part / 2**20:.0f} MiB, each of which would be unpacked for "
                "every block: save it as a tiled TIFF or as OME-Zarr",
            )
        return array


def tiff_levels(path: Path) -> list[LazyImage]:
    """The levels of a TIFF, largest first.

    Raises:
        UnreadableImageError: for a file that is damaged, truncated or incomplete.
        ImageError: for one that holds several images.
    """
    with unreadable(path), open_tiff(path) as file:
        series = tiff_series(file)
        size, stated, black = stated_size(file), channels_of_tiff(file), black_value(series)
        images: list[LazyImage] = []
        for number, level in enumerate(series.levels):
            require_segments(file, level)
            part = TiffPixels(str(path), number, level.axes, tuple(level.shape), np.dtype(level.dtype))
            spacing = None
            if size is not None:
                factor = series.shape[series.axes.index("X")] / part.shape[part.axes.index("X")]
                um = {"X": size.x * factor, "Y": size.y * factor}
                spacing = image_spacing(part, [um.get(axis, size.z or 1.0) for axis in part.axes])
            images.append(LazyImage(str(path), part, stated, spacing, black))
        return images
