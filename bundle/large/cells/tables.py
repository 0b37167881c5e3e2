"""What is known of every cell of an image after a pass over its blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bundle.large.cells.grid import Grid, Spans

__all__ = ["CellTables", "measure_cells"]


class CellTables:
    """Numbers of cells in any order, and how they are called in the end.

    Attributes:
        final: number -> 1 .. N in the order of their first pixel; 0 of numbers that no pixel has.
        count: N.
        sizes: px of each cell, at its final number less 1.
        centres: (N, axes) mean position, px.
    """

    def __init__(self, first: np.ndarray, sizes: np.ndarray, sums: np.ndarray) -> None:
        there = np.flatnonzero(sizes[1:] > 0) + 1
        order = there[np.argsort(first[there])]
        self.final = np.zeros(len(sizes), np.int64)
        self.final[order] = np.arange(1, len(order) + 1)
        self.count = len(order)
        self.sizes = sizes[order]
        self.centres = sums[order] / np.maximum(sizes[order], 1)[:, None]


def measure_cells(grid: Grid, read: Callable[[Spans], np.ndarray], highest: int) -> CellTables:
    """One pass over the blocks.

    Args:
        read: numbers of cells, 0 .. ``highest``, of a region.
    """
    axes = len(grid.size)
    first = np.full(highest + 1, np.prod(grid.size, dtype=np.int64), np.int64)
    sizes, sums = np.zeros(highest + 1, np.int64), np.zeros((highest + 1, axes), np.float64)
    for spans in grid:
        cells = read(spans)
        numbers, place, inverse = np.unique(cells, return_index=True, return_inverse=True)
        inverse = inverse.reshape(cells.shape)
        # the order of pixels in a block is theirs in the image
        at = np.unravel_index(place, cells.shape)
        where = tuple(along + a for along, (a, _) in zip(at, spans, strict=True))
        first[numbers] = np.minimum(first[numbers], np.ravel_multi_index(where, grid.size))
        sizes[numbers] += np.bincount(inverse.ravel(), minlength=len(numbers))
        for axis, (a, b) in enumerate(spans):
            along = np.arange(a, b).reshape([-1 if i == axis else 1 for i in range(axes)])
            weights = np.broadcast_to(along, cells.shape).ravel()
            sums[numbers, axis] += np.bincount(inverse.ravel(), weights=weights, minlength=len(numbers))
    sizes[0] = 0
    return CellTables(first, sizes, sums)
