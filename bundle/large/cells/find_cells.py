"""All steps from a stored probability to stored cells of one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

from bundle.cells import CellOptions
from bundle.cells.regions import close_gaps
from bundle.large.cells.grid import Grid, Plane, Spans, inside
from bundle.large.cells.numbered import Numbered, compact
from bundle.large.cells.tables import numbers_in_order
from bundle.large.cells.whole import components_filled
from bundle.large.cells.zones import cells_of_zones

#: px of the box of a group of touching cells, at most: some GB
MOST_PIXELS = 10**8


@dataclass(frozen=True)
class FoundCells:
    """How many were found, 1 .. N in the order of their first pixel; and the numbers of a region."""

    count: int
    read: Callable[[Spans], Numbered]


def find_cells(
    grid: Grid,
    probability: Callable[[Spans], np.ndarray],
    options: CellOptions,
    stores: tuple[Plane, Plane, Plane],
    folder: Path,
) -> FoundCells:
    """The cells of a stored probability, as ``probability_to_instances`` finds them in the whole map.

    Args:
        grid: blocks of the image.
        probability: fp32, of a region.
        options: how cells are read.
        stores: of the size of the image, for as many numbers as it has px; overwritten.
        folder: for tables.

    Returns:
        the cells; they are read from ``stores`` and ``probability``.

    Raises:
        RuntimeError: for a group of touching cells that is too large to be split or extended.
        ValueError: for a probability that is none.
    """

    def checked(spans: Spans) -> np.ndarray:
        found = probability(spans)
        if not ((found >= 0) & (found <= 1)).all():
            raise ValueError("probability holds NaN or values outside 0 .. 1: the network's weights are damaged")
        return found

    if options.split_by is None and options.low_threshold is None:
        read, highest = components_filled(grid, checked, options, (stores[0], stores[1]), folder)
        closed = stores[2]
    else:
        highest = cells_of_zones(grid, checked, options, (stores[0], stores[1]), stores[2], MOST_PIXELS, folder)
        read, closed = partial(_read, stores[2]), stores[0]
    if options.close_gaps > 0:
        # the smallest halo in which a px sees all that decides about it, see close_gaps
        halo = 2 * ceil(options.close_gaps) + 1
        for spans in grid:
            around = grid.wider(spans, halo)
            found = read(around)
            numbers, places = np.unique(found.numbers, return_inverse=True)  # one place for each number
            cells = close_gaps(places.astype(np.int32)[found.places], options.close_gaps)
            closed.write(spans, numbers[cells[inside(spans, around)]].astype(closed.array.dtype))
        read = partial(_read, closed)
    final, count = numbers_in_order(grid, read, highest, folder)

    def called(spans: Spans) -> Numbered:
        found = read(spans)
        return found.called(final.take(found.numbers)[:, 0])

    return FoundCells(count, called)


def _read(store: Plane, spans: Spans) -> Numbered:
    return compact(store.read(spans))
