"""The size of a pixel as a TIFF states it: by OME-XML, by ImageJ, or by its resolution tags alone."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, NamedTuple

import tifffile

from bundle.data.formats import TIFF, extension, open_tiff

#: µm in the unit of a TIFF's resolution: inch, centimetre
_TAG_UM = {2: 25.4e3, 3: 1e4}
#: µm in the units that OME and ImageJ write; ImageJ's inch is the 72 dots of a picture that nobody calibrated
_UNIT_UM = {
    **dict.fromkeys(("µm", "um", "μm", "micron", "microns", "micrometer"), 1.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("m", "meter"), 1e6),
    **dict.fromkeys(("Å", "angstrom"), 1e-4),
}


class PixelSize(NamedTuple):
    """µm along x and y and between slices (None where the file does not say).

    ``calibrated`` is False for resolution tags alone (72 dots an inch), which programs that know nothing of a
    microscope write, too.
    """

    x: float
    y: float
    z: float | None = None
    calibrated: bool = True


def pixel_size(path: str | os.PathLike[str]) -> PixelSize | None:
    """What a TIFF says; None for other files, damaged ones, and where a unit of length is missing."""
    if extension(path) in TIFF:
        # tifffile has many errors; whoever reads the pixels says what is wrong
        with suppress(Exception), open_tiff(path) as file:
            return stated_size(file)
    return None


def stated_size(file: tifffile.TiffFile) -> PixelSize | None:
    """What an open TIFF says, in this order: OME-XML, ImageJ's description, the tags of its first page.

    None where these are damaged: the pixels may be read all the same.
    """
    with suppress(Exception):  # XML, text and numbers of strangers
        if file.is_ome and (size := _ome(file.ome_metadata)) is not None:
            return size
        if file.is_imagej and (size := _imagej(file)) is not None:
            return size
        page: Any = file.pages.first
        unit = page.tags.get("ResolutionUnit")
        scale = _TAG_UM.get(int(unit.value)) if unit is not None else None
        x, y = (_pixels(page, axis) for axis in "XY")
        return PixelSize(scale / x, scale / y, calibrated=False) if scale and x and y else None
    return None


def ome_pixels(text: str | None) -> dict[str, Any]:
    """What OME-XML says of the pixels of its first image."""
    images = tifffile.xml2dict(text or "<OME/>").get("OME", {})
    images = images.get("Image", {}) if isinstance(images, dict) else {}
    pixels: dict[str, Any] = (images[0] if isinstance(images, list) else images).get("Pixels", {})
    return pixels


def _ome(text: str | None) -> PixelSize | None:
    pixels = ome_pixels(text)
    sizes = [_um(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XYZ"]
    x, y, z = sizes
    return PixelSize(x, y, z) if x and y else None


def _imagej(file: tifffile.TiffFile) -> PixelSize | None:
    notes: dict[str, Any] = file.imagej_metadata or {}
    unit = str(notes.get("unit", "")).replace("\\u00B5", "µ")
    per_unit = [_pixels(file.pages.first, axis) for axis in "XY"]
    x, y = (_um(1 / value, unit) if value else None for value in per_unit)
    return PixelSize(x, y, _um(notes.get("spacing"), unit)) if x and y else None


def _pixels(page: Any, axis: str) -> float | None:
    """Pixels in a unit of resolution."""
    tag = page.tags.get(f"{axis}Resolution")
    return tag.value[0] / tag.value[1] if tag is not None and tag.value[0] and tag.value[1] else None


def _um(value: Any, unit: str) -> float | None:
    scale = _UNIT_UM.get(unit.strip())
    try:
        size = float(value) * scale if value is not None and scale else 0.0
    except (TypeError, ValueError):
        return None
    return size if size > 0 else None
