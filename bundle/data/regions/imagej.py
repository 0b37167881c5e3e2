"""Regions as ROIs of ImageJ: single ones (.roi) and the sets that its ROI Manager saves (.zip)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bundle.data.errors import ImageError, UnreadableImageError, one_line, unreadable
from bundle.data.regions.region import Polygon, Region
from bundle.data.regions.tracing import traced

if TYPE_CHECKING:  # imported where it is used, for few runs do
    from roifile import ImagejRoi

#: largest coordinate of a ROI, px: ImageJ takes larger ones for negative
MOST_PX = 60535
#: corners that the header of a polygon can count
_CORNERS = 2**16 - 1
#: bytes of one ROI at most
_ROI_BYTES = 2**28
#: the first version with properties, which is also ImageJ 1.53t's
_VERSION = 228
#: parts of a path: to a point, a line to one, the end of a ring
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write_rois(path: str | os.PathLike[str], regions: Iterable[Region], hyperstack: bool = False) -> None:
    """Write a set of ROIs: one for each region, with colour, number (property "cell") and class (property "class").

    Args:
        regions: of whole coordinates, 0 .. :data:`MOST_PX`; their names must differ.
        hyperstack: the image has channels and slices, so that ImageJ tells slices by z.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for region in regions:
            archive.writestr(f"{region.name}.roi", _roi(region, hyperstack).tobytes())


def _roi(region: Region, hyperstack: bool) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    rings = [np.asarray(ring, np.int32) for polygon in region.polygons for ring in polygon]
    corners = np.concatenate(rings)
    low = corners.min(axis=0)
    (left, top), (right, bottom) = low.tolist(), corners.max(axis=0).tolist()
    properties = {"cell": region.cell, "class": region.kind}
    place = 0 if region.slice is None else region.slice + 1
    roi = ImagejRoi(
        version=_VERSION,
        name=region.name,
        props="".join(f"{key}: {value}\n" for key, value in properties.items() if value is not None),
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        position=0 if hyperstack else place,
        z_position=place if hyperstack else 0,
    )
    if region.colour is not None:
        roi.stroke_color = bytes((255, *region.colour))
    if len(rings) == 1 and len(rings[0]) <= _CORNERS:
        roi.roitype, roi.n_coordinates, roi.integer_coordinates = ROI_TYPE.TRACED, len(rings[0]), rings[0] - low
    else:
        path = [part for ring in rings for part in _path(ring)]
        roi.roitype, roi.multi_coordinates = ROI_TYPE.RECT, np.array(path, np.float32)
        roi.shape_roi_size = len(path)
    return roi


def _path(ring: np.ndarray) -> Iterator[float]:
    for number, (x, y) in enumerate(ring.tolist()):
        yield from (_LINE if number else _MOVE, x, y)
    yield _CLOSE


def read_rois(path: str | os.PathLike[str]) -> list[Region]:
    """The regions of a set, or the one of a .roi.

    Raises:
        UnreadableImageError: for a file that is damaged or no set of ROIs.
        ImageError: naming a ROI that has no area, or one of a sort that has no exact area here.
    """
    try:
        if str(path).lower().endswith(".roi"):
            return [_region(path, Path(path).read_bytes(), Path(path).stem)]
        with zipfile.ZipFile(path) as archive:
            entries = [one for one in archive.infolist() if one.filename.lower().endswith(".roi")]
            entries = [one for one in entries if "__MACOSX" not in one.filename]
            if not entries and archive.infolist():
                raise UnreadableImageError(
                    path, "it holds no file .roi: a set of ROIs is what ImageJ's ROI Manager saves"
                )
            if (largest := max((one.file_size for one in entries), default=0)) > _ROI_BYTES:
                raise UnreadableImageError(path, f"it states a ROI of {largest} bytes, one has at most {_ROI_BYTES}")
            return [_region(path, archive.read(one), Path(one.filename).stem) for one in entries]
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:  # encrypted among them
        raise UnreadableImageError(path, f"it cannot be read ({one_line(error)})") from error


def _region(path: str | os.PathLike[str], content: bytes, name: str) -> Region:
    from roifile import ImagejRoi

    with unreadable(path, f"the ROI {name!r} is damaged"):
        roi = ImagejRoi.frombytes(content)
    name = roi.name or name
    properties = dict(line.split(":", 1) for line in roi.props.splitlines() if ":" in line)
    properties = {key.strip(): value.strip() for key, value in properties.items()}
    number = properties.get("cell", "")
    if roi.z_position > 1 and roi.t_position > 1:
        raise ImageError(
            path,
            f"the region {name!r} has a depth and a time (z {roi.z_position}, t {roi.t_position}): "
            "save each time by itself",
        )
    place = max(roi.z_position, roi.t_position) or roi.position
    return Region(
        name,
        _polygons(path, roi, name),
        slice=place - 1 if place > 0 else None,
        cell=int(number) if number.isdecimal() and 0 < int(number) < 2**31 else None,
        kind=properties.get("class") or None,
    )


def _polygons(path: str | os.PathLike[str], roi: ImagejRoi, name: str) -> list[Polygon]:
    from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE

    kind = roi.roitype.name if roi.subtype == ROI_SUBTYPE.UNDEFINED else roi.subtype.name
    if roi.options & ROI_OPTIONS.SPLINE_FIT:
        raise ImageError(path, f"the region {name!r} is a spline: make it a polygon (Edit > Selection > Interpolate)")
    if roi.composite:
        return [_rings(path, roi, name)]
    if roi.subtype in (ROI_SUBTYPE.UNDEFINED, ROI_SUBTYPE.ELLIPSE, ROI_SUBTYPE.ROTATED_RECT):
        if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
            return [[np.asarray(roi.coordinates(), np.float64)]]
        if roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL) and not roi.rounded_rect_arc_size:
            box: Any = (roi.left, roi.top, roi.right, roi.bottom)
            if roi.subpixelrect:
                box = (roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd)
            left, top, right, bottom = box
            if roi.roitype == ROI_TYPE.OVAL:
                return _oval(left, top, right, bottom)
            return [[np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)]]
    kind = "rounded rectangle" if roi.rounded_rect_arc_size else kind.lower()
    raise ImageError(
        path,
        f"the region {name!r} is a {kind}, which has no area of whole pixels: a cell is a polygon, freehand or traced "
        "selection, a rectangle or an oval; remove it",
    )


def _rings(path: str | os.PathLike[str], roi: ImagejRoi, name: str) -> list[np.ndarray]:
    try:
        return [np.asarray(ring, np.float64) for ring in roi.coordinates(multi=True) if len(ring) > 2]
    except (NotImplementedError, RuntimeError) as error:
        raise ImageError(
            path, f"the region {name!r} has curves: make it straight (Edit > Selection > Interpolate), or draw it again"
        ) from error


def _oval(left: float, top: float, right: float, bottom: float) -> list[Polygon]:
    """Pixels whose centres are in an ellipse, as rings along their edges."""
    if not (0 < right - left < np.inf and 0 < bottom - top < np.inf):  # perhaps they are NaN
        return []
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    y, x = np.mgrid[y0 : int(np.ceil(bottom)), x0 : int(np.ceil(right))] + 0.5
    across, down = (right - left) / 2, (bottom - top) / 2
    inside = ((x - left - across) / across) ** 2 + ((y - top - down) / down) ** 2 <= 1
    return [[ring + np.array((x0, y0)) for ring in polygon] for polygon in traced(inside.astype(np.int32)).get(1, [])]
