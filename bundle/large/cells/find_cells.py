"""All steps from a stored probability to stored cells of one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from bundle.cells import CellOptions
from bundle.cells.regions import close_gaps
from bundle.inference.probability import as_read
from bundle.large.cells.grid import Grid, Plane, Spans, inside
from bundle.large.cells.tables import CellTables, measure_cells
from bundle.large.cells.whole import components_filled
from bundle.large.cells.zones import cells_of_zones

__all__ = ["FoundCells", "find_cells"]

#: px of the box of a group of touching cells, at most: some GB
MOST_PIXELS = 10**8


@dataclass(frozen=True)
class FoundCells:
    """What was found: tables of the cells; and the numbers of a region."""

    tables: CellTables
    read: Callable[[Spans], np.ndarray]


def find_cells(
    source: Plane, options: CellOptions, block: tuple[int, ...], stores: tuple[Plane, Plane, Plane]
) -> FoundCells:
    """The cells of a stored probability, as ``probability_to_instances`` finds them in the whole map.

    Args:
        source: the probability as it is stored, one image.
        options: how cells are read.
        block: px of the blocks.
        stores: uint32, of the size of the image; overwritten.

    Returns:
        the cells; they are read from ``stores``.

    Raises:
        RuntimeError: for a group of touching cells that is too large to be split or extended.
    """
    grid = Grid(source.size, block)
    axes = len(grid.size)
    if options.connectivity > axes:
        raise ValueError(f"connectivity must be 1 .. {axes} for images of {axes} axes, got {options.connectivity}")

    def probability(spans: Spans) -> np.ndarray:
        found = as_read(source.read(spans))
        if not ((found >= 0) & (found <= 1)).all():
            raise ValueError("probability holds NaN or values outside 0 .. 1: the network's weights are damaged")
        return found

    if options.split_by is None and options.low_threshold is None:
        read, highest = components_filled(grid, probability, options, (stores[0], stores[1]))
    else:
        highest = cells_of_zones(grid, probability, options, (stores[0], stores[1]), stores[2], MOST_PIXELS)

        def read(spans: Spans) -> np.ndarray:
            return stores[2].read(spans).astype(np.int64)

    if options.close_gaps > 0:
        # the smallest halo in which a px sees all that decides about it, see close_gaps
        halo = 2 * ceil(options.close_gaps) + 1
        closed = stores[0] if options.split_by is not None or options.low_threshold is not None else stores[2]
        for spans in grid:
            around = grid.wider(spans, halo)
            numbers, small = np.unique(read(around), return_inverse=True)  # as int32, in the same order
            with_none = small + (numbers[0] > 0)
            cells = close_gaps(with_none.reshape([b - a for a, b in around]).astype(np.int32), options.close_gaps)
            table = numbers if numbers[0] == 0 else np.concatenate([[0], numbers])
            closed.write(spans, table[cells[inside(spans, around)]].astype(np.uint32))

        def read_closed(spans: Spans) -> np.ndarray:
            return closed.read(spans).astype(np.int64)

        read = read_closed
    tables = measure_cells(grid, read, highest)
    return FoundCells(tables, lambda spans: tables.final[read(spans)])
