"""Cells by threshold, holes and size: components of any extent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bundle.cells import CellOptions
from bundle.cells.regions import dual_connectivity
from bundle.cells.strips import beside
from bundle.large.cells.components import Components
from bundle.large.cells.disk_table import DiskTable
from bundle.large.cells.grid import Grid, Plane, Spans, inside
from bundle.large.cells.numbered import Numbered


def components_filled(
    grid: Grid,
    probability: Callable[[Spans], np.ndarray],
    options: CellOptions,
    stores: tuple[Plane, Plane],
    folder: Path,
) -> tuple[Callable[[Spans], Numbered], int]:
    """Threshold, components, holes filled and small ones dropped, as ``probability_to_instances`` has these.

    Args:
        grid: blocks of the image.
        probability: of a region.
        options: of which ``split_by`` and ``low_threshold`` are None.
        stores: overwritten.
        folder: for tables.

    Returns:
        what gives the numbers of cells in a region, and the highest of them; some may not occur.
    """
    cells = Components(grid, lambda spans: probability(spans) > options.threshold, options.connectivity, stores[0])
    filled: Callable[[Spans], Numbered] = cells.read
    if options.fill_holes:
        dual = dual_connectivity(options.connectivity, len(grid.size))
        gaps = Components(grid, lambda spans: ~(probability(spans) > options.threshold), dual, stores[1])
        filled = _with_holes(grid, cells, gaps, folder)
    if options.min_size <= 1:
        return filled, cells.highest
    sizes = DiskTable(folder, cells.highest + 1)
    for spans in grid:
        found = filled(spans)
        sizes.add(found.numbers, found.counts())

    def large_ones(spans: Spans) -> Numbered:
        found = filled(spans)
        return found.called(np.where(sizes.take(found.numbers)[:, 0] < options.min_size, 0, found.numbers))

    return large_ones, cells.highest


def _with_holes(grid: Grid, cells: Components, gaps: Components, folder: Path) -> Callable[[Spans], Numbered]:
    """Gives a gap that touches one cell only, and not the edge of the image, to that cell."""
    top = cells.highest + 1
    # of every gap: the greatest and (as what is left to the top) the least cell that it touches; whether it is outside
    known = DiskTable(folder, gaps.highest + 1, 3)
    for spans in grid:
        window = tuple((a, min(b + 1, n)) for (a, b), n in zip(spans, grid.size, strict=True))
        owners, part = cells.read(window), gaps.read(window)
        # a px is in a gap or in a cell: the places of both in one image, those of gaps below 0
        both = np.where(part.places > 0, -part.places, owners.places)
        for step in np.eye(both.ndim, dtype=int).tolist():
            low, high = (both[region] for region in beside(both.shape, step))
            touching = (low < 0) != (high < 0)
            ends = np.stack([low[touching], high[touching]])
            gap, cell = part.numbers[-ends.min(axis=0)], owners.numbers[ends.max(axis=0)]
            known.raise_to(gap, np.stack([cell, top - cell, 0 * cell], axis=1))
        outside = edge_numbers(grid, spans, part, window)
        known.raise_to(outside, np.broadcast_to([0, 0, 1], (len(outside), 3)))

    def filled(spans: Spans) -> Numbered:
        found, part = cells.read(spans), gaps.read(spans)
        most, least, outside = known.take(part.numbers).T
        owner = np.where((top - least == most) & (outside == 0), most, 0)
        places = np.where(part.places > 0, part.places + len(found.numbers) - 1, found.places)
        return Numbered(places.astype(np.int32), np.concatenate([found.numbers, owner[1:]]))

    return filled


def edge_numbers(grid: Grid, spans: Spans, found: Numbered, of: Spans) -> np.ndarray:
    """Of the numbers in a block, those that reach the edge of the image.

    Args:
        found: of the region ``of``, which holds the block.
    """
    places = found.places[inside(spans, of)]
    there = [np.zeros(0, np.int64)]
    for axis, ((a, b), n) in enumerate(zip(spans, grid.size, strict=True)):
        there += [np.unique(places.take(0, axis))] if a == 0 else []
        there += [np.unique(places.take(-1, axis))] if b == n else []
    return np.unique(found.numbers[np.unique(np.concatenate(there))])
