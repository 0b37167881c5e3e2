"""Cells as regions for other programs: ROI sets for ImageJ and Fiji, GeoJSON for QuPath."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bundle.atomic import replacing
from bundle.console import did_you_mean
from bundle.data.errors import ImageError
from bundle.data.regions import Region, traced
from bundle.data.regions.geojson import write_geojson
from bundle.data.regions.imagej import MOST_PX, write_rois
from bundle.output.class_pictures import class_colours
from bundle.output.overlay import cell_colours

#: name of a format -> how its files end
EXPORTS = {"rois": "_rois.zip", "geojson": "_cells.geojson"}


def require_exports(asked: str | Sequence[str] | None) -> tuple[str, ...]:
    """The formats that a person asked for, as "rois,geojson", a list of them, or None.

    Raises:
        ValueError: for one that there is not.
    """
    names = asked.split(",") if isinstance(asked, str) else [str(each) for each in asked or ()]
    names = [name.strip().lower() for name in names if name.strip()]
    for name in names:
        if name not in EXPORTS:
            raise ValueError(
                f"export must be rois, geojson or both (rois,geojson), got {name!r}: {did_you_mean(name, EXPORTS)}"
            )
    return tuple(dict.fromkeys(names))


def regions_of(
    cells: np.ndarray, names: Sequence[str] | None = None, class_of: np.ndarray | None = None
) -> list[Region]:
    """A region for each cell, in the order of their numbers; of a stack one for each cell and slice.

    Args:
        cells: (x, y) or (x, y, slices), 0 background, 1 .. N cells.
        names: of the classes, the background's first; None: there is one kind of cell.
        class_of: (N + 1,), class of each cell.
    """
    stack = cells.ndim == 3
    planes = np.moveaxis(cells, -1, 0) if stack else cells[None]
    count = int(cells.max(initial=0))
    digits = max(4, len(str(count)))
    colours = np.zeros((count + 1, 3), np.float32)
    if class_of is not None:
        colours = class_colours(len(names or ()))[class_of]
    found: list[Region] = []
    for index, plane in enumerate(planes):
        if class_of is None:
            own = cell_colours(plane.T)
            there = np.flatnonzero(own.any(axis=1))
            colours[there] = own[there]
        for cell, polygons in traced(plane.T).items():
            region = Region(
                f"{cell:0{digits}d}" + (f"-z{index + 1:03d}" if stack else ""),
                polygons,
                slice=index if stack else None,
                cell=cell,
                kind=None if class_of is None or names is None else names[class_of[cell]],
                colour=tuple(round(float(part)) for part in colours[cell]),  # type: ignore[arg-type]
            )
            found.append(region)
    return sorted(found, key=lambda region: region.cell or 0)  # and the slices of a cell in their order


def write_regions(
    base: Path,
    cells: np.ndarray,
    formats: Sequence[str],
    names: Sequence[str] | None = None,
    class_of: np.ndarray | None = None,
    hyperstack: bool = False,
) -> dict[str, str]:
    """Write the cells of an image beside its other results; they are replaced.

    Args:
        base: path of the results without their endings.
        cells, names, class_of: see :func:`regions_of`.
        formats: of :data:`EXPORTS`.
        hyperstack: the image has several channels and slices.

    Returns:
        format -> path.

    Raises:
        ImageError: for an image that is too large for ROIs.
    """
    if not formats:
        return {}
    if "rois" in formats and max(cells.shape[:2]) > MOST_PX:
        raise ImageError(
            base,
            f"ROIs of ImageJ end at {MOST_PX} px, the image has {cells.shape[0]} x {cells.shape[1]}: export geojson",
        )
    regions = regions_of(cells, names, class_of)
    written = {}
    for name in formats:
        target = base.with_name(base.name + EXPORTS[name])
        with replacing(target) as part:
            if name == "rois":
                write_rois(part, regions, hyperstack)
            else:
                write_geojson(part, regions)
        written[name] = str(target)
    return written
