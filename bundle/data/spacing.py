"""The distances between voxels: as files state them, or as a person gives them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import nibabel
import numpy as np

from bundle.data.errors import ImageError
from bundle.data.formats import META_IMAGE, NIFTI, TIFF, extension, itk_header
from bundle.data.item import Item
from bundle.data.pixel_size import pixel_size
from bundle.data.stores.window import open_whole
from bundle.data.windows import file_of, window_of
from bundle.geometry import relative_spacing

logger = logging.getLogger(__name__)

_Size = TypeVar("_Size", bound=Sequence[float])

#: in the meta data of a volume: its spacing (x, y, z), µm, or NaN where nobody states it
VOXEL_SPACING = "voxel_spacing"
#: how far relative spacings may be apart and still count as one
_ALIKE = 0.1
#: µm in the units of NIfTI
_NIFTI_UM = {"meter": 1e6, "mm": 1e3, "micron": 1.0, "unknown": 1.0}


def require_spacing(spacing: Sequence[float]) -> list[float]:
    """Check what a person gave: three numbers above 0, (x, y, z) in µm or relative to each other.

    Raises:
        ValueError: for anything else.
    """
    numbers = [each for each in spacing if isinstance(each, int | float) and not isinstance(each, bool) and each > 0]
    if isinstance(spacing, str) or len(numbers) != len(spacing) or len(numbers) != 3:
        raise ValueError(
            f"spacing must be three numbers above 0, x, y and z in µm or relative to each other such as "
            f'"[1, 1, 3]", or null for that of the files, got {spacing!r}'
        )
    return [float(each) for each in numbers]


def stated_spacing(path: str | os.PathLike[str]) -> list[float] | None:
    """Distances (x, y, z) between voxels, µm, as the header of a volume states them; None where it does not.

    OME-TIFF and ImageJ state all three; resolution tags alone do not. NIfTI without a unit counts as µm; MHA as mm.

    Raises:
        UnreadableImageError: for a MetaImage of another kind than its name says.
    """
    kind = extension(path)
    if kind in TIFF:
        size = pixel_size(path)
        return [size.x, size.y, size.z] if size is not None and size.z else None
    if kind in NIFTI:
        header: Any = nibabel.load(path).header
        scale = _NIFTI_UM[header.get_xyzt_units()[0]]
        return [float(each) * scale for each in header.get_zooms()[:3]]
    if kind in META_IMAGE:
        io = itk_header(path)
        return [float(io.GetSpacing(axis)) * 1e3 for axis in range(min(3, io.GetNumberOfDimensions()))]
    return None


def stated_sides(path: str | os.PathLike[str]) -> list[float] | None:
    """Sides (x, y) of a pixel, µm, as the header of an image or a volume states them; None where it does not.

    Resolution tags alone state none, nor does a NIfTI or MHA whose pixels are 1 x 1, which is what these say of
    anything.
    """
    if extension(path) in TIFF:
        size = pixel_size(path)
        return [size.x, size.y] if size is not None and size.calibrated else None
    stated = stated_spacing(path)
    return None if stated is None or (stated[0] == stated[1] and stated[0] in (1.0, 1e3)) else stated[:2]


def sides_of(path: str | os.PathLike[str]) -> list[float] | None:
    """As :func:`stated_sides`; of a rectangle, those of the image that it is a part of."""
    window = window_of(path)
    if window is None or extension(window.file) in TIFF:
        return stated_sides(file_of(path))
    spacing = open_whole(window.file).spacing
    return None if spacing is None else list(spacing[:2])


def common_sides(items: Iterable[Item]) -> list[float] | None:
    """Sides (x, y) of a pixel, µm, of a set of images, where each states them, and all about the same."""
    return agreed((sides_of(path) for path in dict.fromkeys(item["image"] for item in items)), _ALIKE)


def agreed(stated: Iterable[_Size | None], tolerance: float) -> _Size | None:
    """The first of some sizes, where each is stated and none differs from it by more than ``tolerance`` of it."""
    first = None
    for size in stated:
        first = first or size
        if size is None or first is None or not np.allclose(size, first, rtol=tolerance, atol=0):
            return None
    return first


def spacing_of(items: Iterable[Item], spacing: Sequence[float] | None = None) -> list[float]:
    """The spacing of a set of volumes, to train one network on all of them.

    Args:
        spacing: given by a person; None takes what the files state.

    Returns:
        (x, y, z) in µm; of files that state none, 1 along each axis, which is said in the log.

    Raises:
        ValueError: for another ``spacing``.
        ImageError: when the spacing of the files differs, naming two of them.
    """
    if spacing is not None:
        return require_spacing(spacing)
    first: tuple[str, list[float] | None] | None = None
    for path in dict.fromkeys(item["image"] for item in items):
        found = stated_spacing(path)
        if first is None:
            first = (path, found)
        elif not _alike(found, first[1]):
            raise ImageError(
                path,
                f"its spacing is {_text(found)}, that of {first[0]} {_text(first[1])}: cells would have other sizes in "
                'voxels; resample one of them, or give the spacing of all, such as --spacing "[1, 1, 3]"',
            )
    if first is None or first[1] is None:
        logger.warning("no file states its spacing: voxels are taken for cubes; others need --spacing, as [1, 1, 3]")
        return [1.0] * 3
    return first[1]


def warn_of_other_spacing(path: str, found: Sequence[float] | None, trained: Sequence[float] | None) -> None:
    """Say it when the voxels of a volume have another shape, or another size, than those a network was trained on.

    A network of planes, whose card has the two sides of a pixel, knows nothing of voxels.
    """
    if found is None or trained is None or len(trained) != len(found):
        return
    if not _alike(found, trained):
        logger.warning(
            "%s: its spacing is %s, the network was trained at %s: cells have other sizes or shapes in voxels; "
            "resample the volume if cells are missed",
            path, _text(found), _text(trained),
        )  # fmt: skip


def _alike(one: Sequence[float] | None, other: Sequence[float] | None) -> bool:
    if one is None or other is None:
        return one is other
    if 1 in (min(one), min(other)):  # perhaps relative numbers, which tell no size
        one, other = relative_spacing(one), relative_spacing(other)
    return all(abs(a - b) <= _ALIKE * b for a, b in zip(one, other, strict=True))


def _text(spacing: Sequence[float] | None) -> str:
    return "not stated" if spacing is None else " x ".join(f"{each:g}" for each in spacing) + " µm"
