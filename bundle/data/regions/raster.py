"""From regions to the label map that they mean, or the reason why they mean none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count

import numpy as np

from bundle.data.errors import ImageError
from bundle.data.regions.region import Region


def rasterised(
    regions: Sequence[Region], values: Sequence[int], size: Sequence[int], path: str | os.PathLike[str]
) -> np.ndarray:
    """The label map of regions; a pixel is in a region where its centre is.

    Args:
        values: of the pixels of each region.
        size: (rows, columns) or (slices, rows, columns) of the image.
        path: of the file, for messages.

    Returns:
        int32 of that size, 0 where no region is.

    Raises:
        ImageError: naming the region, where two share pixels, one has none in the image or crosses itself so that
            programs would fill it differently, or lies in a slice that there is not.
    """
    slices = size[0] if len(size) == 3 else None
    drawn = np.zeros(size, np.int32)
    owners = np.zeros(size, np.int32)
    for number, (region, value) in enumerate(zip(regions, values, strict=True), 1):
        index = require_slice(region, slices or 1, path)
        place = () if slices is None else (index,)
        (top, left), inside = _inside(region, size[-2:], path)
        window = (*place, slice(top, top + inside.shape[0]), slice(left, left + inside.shape[1]))
        others = owners[window][inside]
        if others.any():
            shared, counts = np.unique(others[others > 0], return_counts=True)
            other = regions[int(shared[0]) - 1].name
            where = "" if region.slice is None else f" of slice {region.slice}"
            raise ImageError(
                path,
                f"the regions {other!r} and {region.name!r} share {counts[0]} px{where}: a pixel belongs to one cell, "
                "so redraw one of them",
            )
        owners[window][inside], drawn[window][inside] = number, value
    return drawn


def require_slice(region: Region, slices: int, path: str | os.PathLike[str]) -> int:
    """The slice of a region; an :class:`ImageError` that names it where there is none of that number."""
    place = 0 if region.slice is None and slices == 1 else region.slice
    if place is None:
        raise no_slice(path, region)
    if not 0 <= place < slices:
        raise ImageError(
            path,
            f"the region {region.name!r} lies in slice {place}, its image has "
            + ("but one" if slices == 1 else f"0 to {slices - 1}"),
        )
    return place


def no_slice(path: str | os.PathLike[str], region: Region) -> ImageError:
    """What is wrong with a region of a stack that has no place in it."""
    return ImageError(path, f"the region {region.name!r} lies in no slice of the stack: give it a position")


def _inside(region: Region, size: Sequence[int], path: str | os.PathLike[str]) -> tuple[tuple[int, int], np.ndarray]:
    """Upper left pixel of a box in the image, and which of its pixels are in the region."""
    from bundle.data.regions.rings_compiled import toggle

    points = np.concatenate([ring for polygon in region.polygons for ring in polygon] or [np.zeros((0, 2))])
    if len(points) < 3:
        raise ImageError(path, f"the region {region.name!r} has no area: remove it")
    if not np.isfinite(points).all():
        raise ImageError(path, f"the region {region.name!r} is damaged: a corner of it is no number; draw it again")
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    top, left, bottom, right = (
        int(each) for each in (max(top, 0), max(left, 0), min(bottom, size[0]), min(right, size[1]))
    )
    if bottom <= top or right <= left:
        raise ImageError(
            path,
            f"the region {region.name!r} lies outside its image, which has {size[1]} x {size[0]} px: it belongs to "
            "another one, or was drawn in other units",
        )
    inside = np.zeros((bottom - top, right - left), np.bool_)
    for polygon in region.polygons:
        filled = np.zeros_like(inside)
        for ring in polygon:
            if doubtful := toggle(np.ascontiguousarray(ring, np.float64) - (left, top), filled):
                raise ImageError(
                    path,
                    f"the outline of the region {region.name!r} crosses itself, so that {doubtful} px are inside or "
                    "outside as a program likes: redraw it",
                )
        inside |= filled
    if not inside.any():
        raise ImageError(
            path, f"the region {region.name!r} holds the centre of no pixel of its image, it has no area: remove it"
        )
    return (top, left), inside


def instance_values(regions: Sequence[Region]) -> list[int]:
    """A number for each region: that which it has, or the next one after all of these.

    >>> instance_values([Region("a", [], cell=3), Region("b", []), Region("c", [])])
    [3, 4, 5]
    """
    following = count(1 + max((region.cell or 0 for region in regions), default=0))
    return [next(following) if region.cell is None else region.cell for region in regions]


def require_own_numbers(regions: Sequence[Region], path: str | os.PathLike[str]) -> None:
    """Check that no two regions of one slice have the same number: they would become one cell.

    Raises:
        ImageError: naming both.
    """
    seen: dict[tuple[int | None, int], str] = {}
    for region in regions:
        if region.cell is None:
            continue
        place = (region.slice, region.cell)
        if place in seen:
            raise ImageError(
                path,
                f"the regions {seen[place]!r} and {region.name!r} have the same number, {region.cell}, perhaps because "
                "one is a copy: remove one, or its property 'cell'",
            )
        seen[place] = region.name
