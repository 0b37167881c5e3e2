"""The tile of the fewest operations for an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce

import numpy as np

from bundle.inference.tile_cost import TileCost


def cheapest_tile(
    cost: TileCost, image_size: Sequence[int], memory: Callable[[tuple[int, ...]], float], limits: Iterable[float]
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Of the smallest tiles for their number along each axis, the one that costs least for the whole image.

    Args:
        cost: of a tile.
        image_size: spatial size, px.
        memory: what a tile needs in bytes, at least what ``cost`` counts; never less for a larger tile.
        limits: bounds of it, the one to keep within first.

    Returns:
        the tile, None where none keeps within any limit; and the smallest of all.
    """
    axes = list(zip(cost.geometry.axes(len(image_size)), image_size, strict=True))
    sizes = [axis.tile_sizes(n) for axis, n in axes]
    counts = [[axis.tiles_along(n, size) for size in along] for (axis, n), along in zip(axes, sizes, strict=True)]
    number = reduce(np.multiply.outer, map(np.asarray, counts))
    estimated = cost.estimated_memory_of(sizes)
    # the fewest operations first, and of equal ones the fewest tiles
    order = np.lexsort((number.ravel(), (number * cost.flops_of(sizes)).ravel()))
    smallest = tuple(along[-1] for along in sizes)
    for limit in limits:
        possible = estimated <= limit  # the estimate spares counting what is far too large
        for place in zip(*np.unravel_index(order, number.shape), strict=True):
            if possible[place]:
                tile = tuple(along[i] for along, i in zip(sizes, place, strict=True))
                if memory(tile) <= limit:
                    return tile, smallest
                possible[tuple(slice(i + 1) for i in place)] = False  # nor do those that are larger along all axes
    return None, smallest


def operations(cost: TileCost, image_size: Sequence[int], tile: Sequence[int]) -> float:
    """FLOPs of all tiles of an image together; infinite where tiles of this size cannot cover it."""
    axes = zip(cost.geometry.axes(len(tile)), image_size, tile, strict=True)
    tiles = math.prod(axis.tiles_along(n, size) for axis, n, size in axes)
    return tiles * cost.flops(tile) if tiles else math.inf
