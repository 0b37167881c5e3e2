"""Regions as GeoJSON in the way QuPath writes and reads it: coordinates in px, y downwards."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.errors import ImageError, UnreadableImageError, one_line
from bundle.data.regions.region import Region

#: name of the measurement that holds a cell's number
_CELL = "cell"


def write_geojson(path: str | os.PathLike[str], regions: Iterable[Region]) -> None:
    """Write a feature for each region: an annotation of QuPath, which can be edited, with class, colour and number."""
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, region in enumerate(regions):
            file.write((",\n" if number else "\n") + json.dumps(_feature(region), separators=(",", ":")))
        file.write("\n]}\n")


def _feature(region: Region) -> dict[str, Any]:
    # a ring ends where it begins
    polygons = [[np.concatenate([ring, ring[:1]]).tolist() for ring in polygon] for polygon in region.polygons]
    several = len(polygons) > 1
    geometry: dict[str, Any] = {
        "type": "MultiPolygon" if several else "Polygon",
        "coordinates": polygons if several else polygons[0],
    }
    if region.slice is not None:
        geometry["plane"] = {"c": -1, "z": region.slice, "t": 0}
    properties: dict[str, Any] = {"objectType": "annotation", "name": region.name}
    if region.kind is not None:
        properties["classification"] = {"name": region.kind, "color": list(region.colour or (255, 255, 0))}
    elif region.colour is not None:
        properties["color"] = list(region.colour)
    if region.cell is not None:
        properties["measurements"] = {_CELL: region.cell}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def read_geojson(path: str | os.PathLike[str]) -> list[Region]:
    """The regions of a file, whoever wrote it.

    Raises:
        UnreadableImageError: for a file that is no GeoJSON.
        ImageError: naming a region whose geometry has no area, or is damaged.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableImageError(path, f"it cannot be read ({one_line(error)})") from error
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list) or not all(isinstance(one, dict) and "geometry" in one for one in features):
        raise UnreadableImageError(path, "it is no GeoJSON: a FeatureCollection, a Feature or a list of these")
    return [_region(path, one, f"feature {number}") for number, one in enumerate(features, 1)]


def _region(path: str | os.PathLike[str], feature: Mapping[str, Any], place: str) -> Region:
    properties, geometry = (feature.get(key) or {} for key in ("properties", "geometry"))
    if not isinstance(properties, dict) or not isinstance(geometry, dict):
        raise ImageError(path, f"{place} is damaged: its properties and geometry must be objects")
    name = str(properties.get("name") or place)
    kind = geometry.get("type")
    if kind not in ("Polygon", "MultiPolygon"):
        raise ImageError(
            path,
            f"the region {name!r} is a {kind}, which has no area: a cell is a Polygon or MultiPolygon; remove it",
        )
    try:
        coordinates = geometry["coordinates"] if kind == "MultiPolygon" else [geometry["coordinates"]]
        polygons = [[_ring(ring) for ring in polygon] for polygon in coordinates]
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(path, f"the region {name!r} is damaged: its coordinates are no rings of x and y") from error
    plane = geometry.get("plane", {} if "objectType" in properties else None)  # QuPath leaves out that of slice 0
    z, t = (_whole(plane.get(axis)) or 0 for axis in "zt") if isinstance(plane, dict) else (None, None)
    if z and t:
        raise ImageError(path, f"the region {name!r} has a depth and a time (z {z}, t {t}): save each time by itself")
    classification = properties.get("classification")
    measured = properties.get("measurements")
    return Region(
        name,
        polygons,
        slice=z or t,
        cell=_whole(measured.get(_CELL)) or None if isinstance(measured, dict) else None,
        kind=_class_name(classification),
    )


def _ring(points: Any) -> np.ndarray:
    ring = np.array([[float(each) for each in point[:2]] for point in points])
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise ValueError("no points")
    return ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring


def _class_name(classification: Any) -> str | None:
    """QuPath has written a name, and a list of the names of a class and those derived from it."""
    if not isinstance(classification, dict):
        return None
    names = classification.get("names")
    name = classification.get("name") or (names[0] if isinstance(names, list) and names else None)
    return None if name is None else str(name)


def _whole(value: Any) -> int | None:
    """Of a number that is whole, 0 to 2^31 - 1, however it is written; None for anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return int(value) if number and value == int(value) and 0 <= value < 2**31 else None
