"""How many channels a file says it has, and how it calls them; from its header alone."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tifffile

from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.formats import (
    META_IMAGE,
    NIFTI,
    PLANAR,
    TIFF,
    extension,
    has_opacity,
    itk_header,
    one_line,
    open_tiff,
    require_file,
    tiff_axes,
    tiff_series,
)

__all__ = ["COLOURS", "StatedChannels", "are_colours", "stated_channels"]

#: names of the channels of a colour picture
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class StatedChannels:
    """Number of channels, without opacity, and their names; None where the file does not name each of them."""

    count: int
    names: tuple[str, ...] | None = None


def are_colours(names: Sequence[str] | None) -> bool:
    """Whether channels with these names are red, green and blue."""
    return names is not None and tuple(names) == COLOURS


def stated_channels(path: str | os.PathLike[str]) -> StatedChannels:
    """What the header of a file says.

    Names are those of OME-XML, or the labels that ImageJ gives the channels of a hyperstack; those of a colour picture
    (PNG, JPEG, BMP, a TIFF that says RGB) are "red", "green" and "blue".

    Raises:
        UnreadableImageError: when the header cannot be read.
        ImageError: for a TIFF whose pages differ in size.
    """
    require_file(path)
    status = os.stat(path)
    return _remember(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)  # asked for each slice of a stack
def _remember(path: str, modified_ns: int, size: int) -> StatedChannels:
    kind = extension(path)
    try:
        if kind in TIFF:
            with open_tiff(path) as file:
                return _of_tiff(file)
        if kind in NIFTI:
            import nibabel

            shape = nibabel.load(path).shape  # type: ignore[attr-defined]
            return StatedChannels(int(shape[-1]) if len(shape) > 3 else 1)
        count = itk_header(path).GetNumberOfComponents()
        if kind in META_IMAGE:
            return StatedChannels(count)
        count = 3 if kind in PLANAR and count == 4 else count  # the fourth is opacity
        return StatedChannels(count, COLOURS if count == 3 else None)
    except ImageError:
        raise
    except Exception as error:  # each library has its own; whatever it is, this file cannot be used
        raise UnreadableImageError(path, f"its header cannot be read ({one_line(error)})") from error


def _of_tiff(file: tifffile.TiffFile) -> StatedChannels:
    series = tiff_series(file)
    axes = tiff_axes(series)[3]
    count = math.prod(series.shape[axis] for axis in axes) - has_opacity(series)
    colours = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
    if count == 3 and "S" in series.axes and series.keyframe.photometric in colours:
        return StatedChannels(count, COLOURS)
    names = _ome(file.ome_metadata) if file.is_ome else _imagej(file, count) if file.is_imagej else ()
    known = len(names) == count and all(names) and len(set(names)) == count
    return StatedChannels(count, tuple(names) if known else None)


def _ome(text: str | None) -> list[str]:
    images = tifffile.xml2dict(text or "<OME/>").get("OME", {})
    images = images.get("Image", {}) if isinstance(images, dict) else {}
    first = images[0] if isinstance(images, list) else images
    channels = first.get("Pixels", {}).get("Channel", [])
    return [str(each.get("Name", "")).strip() for each in (channels if isinstance(channels, list) else [channels])]


def _imagej(file: tifffile.TiffFile, count: int) -> list[str]:
    """Labels of the first planes: channels run fastest."""
    notes: dict[str, Any] = file.imagej_metadata or {}
    labels = notes.get("Labels", [])
    return [str(label).strip() for label in labels[:count]] if count > 1 and isinstance(labels, list) else []
