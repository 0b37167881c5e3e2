"""Which level of a pyramid is read: by its number, or by the size of its pixels."""

from __future__ import annotations

import logging
import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from bundle.data.errors import ImageError
from bundle.data.formats import META_IMAGE, NIFTI, TIFF, extension
from bundle.data.stores.lazy_image import LazyImage
from bundle.data.stores.ome_zarr import is_store, store_levels
from bundle.data.stores.tiff import tiff_levels

logger = logging.getLogger(__name__)

#: how far the pixel size of a level may be from the one asked for
_NEAR = 0.1


def open_lazily(
    path: str | os.PathLike[str],
    level: int | None = None,
    pixel_size: float | None = None,
    missing: str = "error",
    trained: Sequence[float] | None = None,
) -> LazyImage:
    """One level of an OME-Zarr or a TIFF, of which nothing but the header is read yet.

    Args:
        level: number of the level, 0 is the largest; None goes by ``pixel_size``.
        pixel_size: µm along x that the level must have, to a tenth; None takes level 0, or the level that is like
            ``trained``.
        missing: "error" or "fill", see :class:`bundle.data.stores.ome_zarr.ZarrPixels`.
        trained: µm along x, y[, z] of the images that trained the network, where they are known.

    Raises:
        ImageError: for a file that cannot be read part by part, a level that there is not, or no such pixel size; the
            message names those that there are.
        ValueError: for both ``level`` and ``pixel_size``, or another ``missing``.
    """
    path = Path(path)
    if level is not None and pixel_size is not None:
        raise ValueError(f"level and pixel_size both choose a level: give one of them, got {level} and {pixel_size}")
    if missing not in ("error", "fill"):
        raise ValueError(f"missing must be error or fill, got {missing!r}")
    if path.is_dir() and is_store(path):
        images = store_levels(path, missing)
    elif extension(path) in TIFF:
        images = tiff_levels(path)
    else:
        told = f"only OME-Zarr and TIFF can be read part by part: convert it, {advice_to_convert(path)}"
        raise ImageError(path, told)
    number, why = _number(path, images, level, pixel_size, trained)
    if len(images) > 1:
        logger.info("%s: level %d of %d, %s, %s", path, number, len(images), _told(images[number]), why)
    return images[number]


def advice_to_convert(path: str | os.PathLike[str]) -> str:
    """How a file becomes one that is read part by part."""
    kind = extension(path)
    if kind not in (*NIFTI, *META_IMAGE):
        return "for instance to a tiled TIFF"
    store = str(path)[: -len(kind)] + ".ome.zarr"
    return f"once: python -m bundle.large.convert {shlex.quote(str(path))} {shlex.quote(store)}"


def _number(
    path: Path,
    images: Sequence[LazyImage],
    level: int | None,
    pixel_size: float | None,
    trained: Sequence[float] | None,
) -> tuple[int, str]:
    """The number of the level, and why it is that."""
    there = "; ".join(f"{number}: {_told(image)}" for number, image in enumerate(images))
    if level is not None:
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level < len(images):
            raise ImageError(path, f"it has no level {level!r}: its levels are {there}")
        return level, "as asked"
    wanted = pixel_size if pixel_size is not None else trained[0] if trained else None
    if wanted is None:
        return 0, "the largest, for the size of a pixel of the training is not known"
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not wanted > 0:
        raise ValueError(f"pixel_size must be a number of µm above 0, got {wanted!r}")
    far = [abs(math.log(image.spacing[0] / wanted)) if image.spacing else math.inf for image in images]
    number = far.index(min(far))
    if far[number] <= math.log(1 + _NEAR):
        return number, "as asked" if pixel_size is not None else f"like the {wanted:.3g} µm of the training"
    if pixel_size is None:
        return 0, f"the largest, for none has the {wanted:.3g} µm of the training: --level takes another one"
    raise ImageError(path, f"it has no level of {pixel_size:g} µm: its levels are {there}; choose one by --level")


def _told(image: LazyImage) -> str:
    um = "" if image.spacing is None else f" of {image.spacing[0]:.3g} µm"
    return f"{' x '.join(map(str, image.size))} px{um}"
