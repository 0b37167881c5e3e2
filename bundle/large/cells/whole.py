"""Cells by threshold, holes and size: components of any extent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bundle.cells import CellOptions
from bundle.large.cells.components import Components
from bundle.large.cells.grid import Grid, Plane, Spans, inside

__all__ = ["components_filled"]


def components_filled(
    grid: Grid, probability: Callable[[Spans], np.ndarray], options: CellOptions, stores: tuple[Plane, Plane]
) -> tuple[Callable[[Spans], np.ndarray], int]:
    """Threshold, components, holes filled and small ones dropped, as ``probability_to_instances`` has these.

    Args:
        grid: blocks of the image.
        probability: of a region.
        options: of which ``split_by`` and ``low_threshold`` are None.
        stores: uint32, overwritten.

    Returns:
        what gives the numbers of cells in a region, and the highest of them; some may not occur.
    """
    axes = len(grid.size)
    cells = Components(grid, lambda spans: probability(spans) > options.threshold, options.connectivity, stores[0])
    owner = np.zeros(1, np.int64)
    gaps = None
    if options.fill_holes:
        dual = axes if options.connectivity == 1 else 1
        gaps = Components(grid, lambda spans: ~(probability(spans) > options.threshold), dual, stores[1])
        owner = _owners(grid, cells, gaps)

    def filled(spans: Spans) -> np.ndarray:
        found = cells.read(spans)
        return found if gaps is None else found + owner[gaps.read(spans)]

    keep = np.arange(cells.count + 1)
    if options.min_size > 1:
        sizes = np.zeros(cells.count + 1, np.int64)
        for spans in grid:
            numbers, counts = np.unique(filled(spans), return_counts=True)
            sizes[numbers] += counts
        keep[sizes < options.min_size] = 0
    return lambda spans: keep[filled(spans)], cells.count


def _owners(grid: Grid, cells: Components, gaps: Components) -> np.ndarray:
    """The cell of every gap that touches one cell only, and not the edge of the image; 0 of the others."""
    axes = len(grid.size)
    least, most = np.full(gaps.count + 1, cells.count + 1, np.int64), np.zeros(gaps.count + 1, np.int64)
    outside = np.zeros(gaps.count + 1, bool)
    for spans in grid:
        window = tuple((a, min(b + 1, n)) for (a, b), n in zip(spans, grid.size, strict=True))
        owners, part = cells.read(window), gaps.read(window)
        for axis in range(axes):
            low = tuple(slice(None, -1) if i == axis else slice(None) for i in range(axes))
            high = tuple(slice(1, None) if i == axis else slice(None) for i in range(axes))
            for gap, cell in ((part[low], owners[high]), (part[high], owners[low])):
                touching = (gap > 0) & (cell > 0)
                np.minimum.at(least, gap[touching], cell[touching])
                np.maximum.at(most, gap[touching], cell[touching])
        outside[edge_numbers(grid, spans, part[inside(spans, window)])] = True
    owner = np.where((least == most) & ~outside, most, 0)
    owner[0] = 0
    return np.asarray(owner)


def edge_numbers(grid: Grid, spans: Spans, numbers: np.ndarray) -> np.ndarray:
    """Of the numbers in a block, those that reach the edge of the image."""
    found = [np.zeros(0, np.int64)]
    for axis, ((a, b), n) in enumerate(zip(spans, grid.size, strict=True)):
        found += [np.unique(numbers.take(0, axis))] if a == 0 else []
        found += [np.unique(numbers.take(-1, axis))] if b == n else []
    return np.unique(np.concatenate(found))
