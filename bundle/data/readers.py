"""One file into one array, in MONAI's order (x, y[, slices]): MONAI's readers, and one of our own for TIFF.

ITK silently misreads TIFFs of microscopes: half floats as integers, 1-bit, tiled and planar ones as RGBA with
invented channels, a truncated stack as its first page; 64-bit, ZSTD, LZMA and JPEG 2000 not at all. tifffile reads
all of them. PNG, JPEG, BMP and MetaImage go through MONAI's ITKReader, NIfTI through its NibabelReader.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader, ITKReader, MetaTensor, NibabelReader
from monai.transforms import LoadImage
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from bundle.data.errors import ImageError, UnreadableImageError, unreadable
from bundle.data.formats import (
    EXTENSIONS,
    META_IMAGE,
    NIFTI,
    PLANAR,
    TIFF,
    black_value,
    extension,
    has_opacity,
    itk_header,
    open_tiff,
    require_file,
    stated_shape,
    tiff_axes,
    tiff_series,
)
from bundle.data.gray import WHITE_IS_ZERO
from bundle.data.pixel_size import stated_size
from bundle.data.plausible import meta_image_bytes, require_deflated, require_room, require_segments
from bundle.data.stores.window import read_window
from bundle.data.windows import window_of


class TiffReader(ImageReader):
    """A MONAI reader for every TIFF that tifffile decodes; same order and affine as MONAI's ITKReader.

    Pixels come as they are stored: 1-bit as 0 and 1, a colour table (ImageJ's "LUT") is not applied, and where 0 is
    white, meta says which value is black. Pages, planes
    and time points are slices along the last spatial axis; samples and ImageJ or OME channels are channels.
    """

    def verify_suffix(self, filename: Sequence[str | os.PathLike[str]] | str | os.PathLike[str]) -> bool:
        return all(extension(name) in TIFF for name in ensure_tuple(filename))

    def read(
        self, data: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], **kwargs: object
    ) -> tuple[np.ndarray, np.ndarray, int | None]:
        """Decode one file.

        Returns:
            array of shape (x, y[, slices][, channels]), the spacing along its spatial axes, mm or 1, and, where 0 is
            white, the value that is black.

        Raises:
            ValueError: for more than one file.
            ImageError: for complex numbers; see :func:`bundle.data.formats.tiff_series`.
        """
        names = ensure_tuple(data)
        if len(names) != 1:
            raise ValueError(f"TiffReader reads one file at a time, got {len(names)}: {names}")
        with open_tiff(names[0]) as file:
            series = tiff_series(file)
            groups = tiff_axes(series)
            if series.dtype.kind == "c":
                raise ImageError(names[0], f"its pixels are complex numbers ({series.dtype}): save their magnitude")
            require_segments(file, series)
            require_room(names[0], series.shape, series.dtype.itemsize + 4)
            array = series.asarray().transpose([axis for group in groups for axis in group])
            sizes = [int(np.prod([series.shape[axis] for axis in group])) for group in groups]
            if has_opacity(series):
                array = array.reshape(sizes)[..., :-1]
                sizes[3] -= 1
            size = stated_size(file)
            black = black_value(series)
        keep = [side for position, side in enumerate(sizes) if position < 2 or side > 1]
        spacing = [1.0] * 3 if size is None else [um / 1e3 for um in (size.x, size.y, size.z or 1e3)]
        return array.reshape(keep), np.array(spacing[: 2 + (sizes[2] > 1)]), black

    def get_data(self, img: tuple[np.ndarray, np.ndarray, int | None]) -> tuple[np.ndarray, dict[str, Any]]:
        """Array and its meta data as MONAI's ITKReader gives them."""
        array, spacing, black = img
        affine = np.diag([*(spacing * ([-1.0, -1.0, 1.0][: len(spacing)])), 1.0])
        has_channels = array.ndim > len(spacing)
        return array, {
            "spacing": spacing,
            MetaKeys.ORIGINAL_AFFINE: affine,
            MetaKeys.AFFINE: affine.copy(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.array(array.shape[: len(spacing)]),
            MetaKeys.ORIGINAL_CHANNEL_DIM: -1 if has_channels else float("nan"),
            **({} if black is None else {WHITE_IS_ZERO: black}),
        }


def read_image(path: str, dtype: np.dtype, keep: bool = False) -> MetaTensor:
    """Read a file as a channel-first MetaTensor.

    Args:
        path: a file with one of the extensions in :data:`bundle.data.formats.EXTENSIONS`, or the name of a part of a
            large image (:mod:`bundle.data.windows`).
        dtype: of the result; float64 holds every label number exactly.
        keep: remember the decoded file, so that the next slice of the same stack costs nothing. Its result is
            shared: do not write into it.

    Returns:
        shape (C, x, y[, slices]).

    Raises:
        UnreadableImageError: naming the file and why it cannot be read.
        ImageError: for a TIFF whose pages differ in size.
    """
    require_file(path)
    if (window := window_of(path)) is not None:
        return read_window(window, dtype)
    if not keep:
        return _decode(path, dtype)
    status = os.stat(path)
    return _remember(path, dtype, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)  # the stack of the images and that of their labels
def _remember(path: str, dtype: np.dtype, modified_ns: int, size: int) -> MetaTensor:
    return _decode(path, dtype)


def _decode(path: str, dtype: np.dtype) -> MetaTensor:
    kind = extension(path)
    if kind is None:
        raise UnreadableImageError(path, f"its extension is none of {', '.join(EXTENSIONS)}")
    with unreadable(path, "it cannot be read"):
        _refuse_what_itk_misreads(path, kind)
        if kind not in TIFF:
            shape, size = stated_shape(path)
            require_room(path, shape, size + dtype.itemsize)
            if kind == ".nii.gz":
                require_deflated(path, math.prod(shape) * size + 2**20)  # and what extensions need
            elif kind in META_IMAGE:
                meta_image_bytes(path, math.prod(shape) * size)
        reader: ImageReader = TiffReader() if kind in TIFF else NibabelReader() if kind in NIFTI else _itk_reader(path)
        # a reader given here is the only one tried: another one may "succeed" with a part of a damaged file
        image: MetaTensor = _loader(dtype)(path, reader=reader)
        return image


def _itk_reader(path: str) -> ITKReader:
    """By itself ITK reads several channels only where they are of a few types."""
    if extension(path) not in META_IMAGE or itk_header(path).GetNumberOfComponents() == 1:
        return ITKReader()
    import itk

    return ITKReader(pixel_type=itk.VariableLengthVector[itk.F])


@lru_cache(maxsize=2)
def _loader(dtype: np.dtype) -> LoadImage:
    return LoadImage(dtype=dtype, image_only=True, ensure_channel_first=True)


def _refuse_what_itk_misreads(path: str, kind: str) -> None:
    """ITK reads these without an error, and wrongly: gray with opacity as zeros, the missing rest of a file as any."""
    if kind not in PLANAR:
        return
    content = Path(path).read_bytes()
    if kind == ".png" and content[25:26] == b"\x04":
        raise ImageError(path, "it is a gray PNG with an opacity (alpha) channel; save it without")
    if kind in (".jpg", ".jpeg") and b"\xff\xd9" not in content[-1024:]:
        raise UnreadableImageError(path, "it is truncated: the end of the JPEG is missing")
    if kind == ".bmp" and int.from_bytes(content[2:6], "little") > len(content):
        raise UnreadableImageError(path, f"it is truncated: {len(content)} bytes are less than its header states")
