"""A file of regions as the label map of an image."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import torch
from monai.data import MetaTensor

from bundle.data.class_values import is_not_annotated
from bundle.data.errors import ImageError
from bundle.data.item import Part
from bundle.data.regions.files import read_regions
from bundle.data.regions.raster import instance_values, no_slice, rasterised, require_slice
from bundle.data.regions.region import Region
from transforms.labels.instances import IGNORE

__all__ = ["load_regions", "region_kinds", "require_slices"]


def load_regions(path: str, image: MetaTensor | None, part: Part = None) -> MetaTensor:
    """The label map that a file of regions means for an image.

    Args:
        path: of the file.
        image: that it belongs to, (C, x, y[, slices]), as :class:`bundle.data.load_slice.LoadSlice` reads it.
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
    values = [
        IGNORE if region.kind is not None and is_not_annotated(region.kind) else value
        for region, value in zip(regions, instance_values(regions), strict=True)
    ]
    size = tuple(reversed(image.shape[1:]))
    if part is None:
        drawn = rasterised(regions, values, size, path)
    else:
        first, last = (part, part + 1) if isinstance(part, int) else part
        there = [
            (region, value) for region, value in zip(regions, values, strict=True) if _within(path, region, first, last)
        ]
        shifted = [replace(region, slice=(region.slice or 0) - first) for region, _ in there]
        drawn = rasterised(shifted, [value for _, value in there], (last - first, *size[-2:]), path)
        drawn = drawn[0] if isinstance(part, int) else drawn
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(drawn.T))[None], meta=dict(image.meta))


def _within(path: str, region: Region, first: int, last: int) -> bool:
    if region.slice is None:
        raise no_slice(path, region)
    return first <= region.slice < last


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
    return {value: one.kind for value, one in numbered if one.kind is None or not is_not_annotated(one.kind)}
