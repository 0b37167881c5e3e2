"""Files of regions: which they are, their content, read once, and the label map of an image that they mean."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from bundle.data.class_values import is_not_annotated
from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.formats import require_file
from bundle.data.item import Part
from bundle.data.regions.geojson import read_geojson
from bundle.data.regions.imagej import read_rois
from bundle.data.regions.raster import instance_values, no_slice, rasterised, require_own_numbers, require_slice
from bundle.data.regions.region import Region
from transforms.labels.instances import IGNORE

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


def load_regions(path: str, image: MetaTensor | None, part: Part = None) -> MetaTensor:
    """The label map that a file of regions means for an image.

    Args:
        image: (C, x, y[, slices]), as :class:`bundle.data.load_slice.LoadSlice` reads it.
        part: what of a stack the image is.

    Returns:
        (1, x, y[, slices]) int32: 0 background, the numbers of the regions, -1 in those of the class "not annotated";
        with the meta data of the image.

    Raises:
        UnreadableImageError, ImageError: naming what is wrong with which region; without an image.
    """
    if image is None:
        raise ImageError(path, "regions have no size of their own: they are read behind their image")
    regions = read_regions(path)
    numbered = zip(instance_values(regions), regions, strict=True)
    values = [IGNORE if is_not_annotated(region.kind) else value for value, region in numbered]
    size = tuple(reversed(image.shape[1:]))
    if part is None:
        drawn = rasterised(regions, values, size, path)
    else:
        first, last = (part, part + 1) if isinstance(part, int) else part
        there, own = [], []
        for region, value in zip(regions, values, strict=True):
            if region.slice is None:
                raise no_slice(path, region)
            if first <= region.slice < last:
                there.append(replace(region, slice=region.slice - first))
                own.append(value)
        drawn = rasterised(there, own, (last - first, *size[-2:]), path)
        drawn = drawn[0] if isinstance(part, int) else drawn
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(drawn.T))[None], meta=dict(image.meta))


def require_slices(path: str | os.PathLike[str], count: int) -> None:
    """Check that each region of a file lies in one of the slices of a stack.

    Raises:
        UnreadableImageError, ImageError: naming the region.
    """
    for region in read_regions(path):
        require_slice(region, count, path)


def region_kinds(path: str) -> dict[int, str | None]:
    """Number of each region in the label map -> name of its class, without those that nobody annotated."""
    regions = read_regions(path)
    numbered = zip(instance_values(regions), regions, strict=True)
    return {value: one.kind for value, one in numbered if not is_not_annotated(one.kind)}
