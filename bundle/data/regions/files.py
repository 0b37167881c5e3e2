"""Files of regions: which they are, and their content, read once."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from bundle.data.errors import UnreadableImageError
from bundle.data.formats import require_file
from bundle.data.regions.geojson import read_geojson
from bundle.data.regions.imagej import read_rois
from bundle.data.regions.raster import require_own_numbers
from bundle.data.regions.region import Region

__all__ = ["REGIONS", "is_region_file", "read_regions"]

#: ImageJ's sets of ROIs and single ones; QuPath's export
REGIONS = (".zip", ".roi", ".geojson")


def is_region_file(path: str | os.PathLike[str]) -> bool:
    """Whether the name of a file is that of regions; hidden ones are passed over."""
    name = Path(path).name.lower()
    return name.endswith(REGIONS) and not name.startswith(".")


def read_regions(path: str | os.PathLike[str]) -> tuple[Region, ...]:
    """The regions of a file in its order.

    Raises:
        UnreadableImageError: for a file that is missing, damaged or of another kind.
        ImageError: naming a region without an area, or two of one slice with the same number.
    """
    require_file(path)
    status = os.stat(path)
    return _remember(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _remember(path: str, modified_ns: int, size: int) -> tuple[Region, ...]:
    if not is_region_file(path):
        raise UnreadableImageError(path, f"its extension is none of {', '.join(REGIONS)}")
    found = read_geojson(path) if path.lower().endswith(".geojson") else read_rois(path)
    require_own_numbers(found, path)
    return tuple(found)
