"""Cells as regions with an outline: the ROI sets of ImageJ and the GeoJSON of QuPath, in and out, to the pixel."""

from bundle.data.regions.files import (
    REGIONS,
    is_region_file,
    load_regions,
    read_regions,
    region_kinds,
    require_slices,
)
from bundle.data.regions.raster import rasterised
from bundle.data.regions.region import Region
from bundle.data.regions.tracing import traced

__all__ = [
    "REGIONS",
    "Region",
    "is_region_file",
    "load_regions",
    "rasterised",
    "read_regions",
    "region_kinds",
    "require_slices",
    "traced",
]
