"""What is known of every cell of an image after a pass over its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

import numpy as np

from bundle.large.cells.disk_table import DiskTable
from bundle.large.cells.grid import Grid, Spans
from bundle.large.cells.numbered import Numbered

#: rows of a table at a time
_ROWS = 2**18
#: parts of a probability that count; sums of them are whole numbers, the same in any order
PARTS = 2**24


def numbers_in_order(
    grid: Grid, read: Callable[[Spans], Numbered], highest: int, folder: Path
) -> tuple[DiskTable, int]:
    """Number of a cell -> 1 .. N in the order of their first pixel; 0 of numbers that no pixel has.

    Args:
        read: numbers of cells, 0 .. ``highest``, of a region.
        folder: for tables.

    Returns:
        the table, and N.
    """
    pixels = prod(grid.size)
    left = DiskTable(folder, highest + 1)  # px from the first one to the end of the image
    for spans in grid:
        found = read(spans)
        first = found.first()
        there = np.flatnonzero(first >= 0)
        at = np.unravel_index(first[there], found.places.shape)
        where = tuple(along + a for along, (a, _) in zip(at, spans, strict=True))
        left.raise_to(found.numbers[there], pixels - np.ravel_multi_index(where, grid.size))
    final = DiskTable(folder, highest + 1)
    count = 0
    across = prod(grid.size[1:])
    # the cells that begin in one row of blocks at a time
    for start in range(0, grid.size[0], grid.block[0]):
        most, least = pixels - start * across, pixels - (start + grid.block[0]) * across
        numbers, places = [], []
        for row in range(1, highest + 1, _ROWS):
            some = left.slab(row, min(row + _ROWS, highest + 1))[:, 0]
            here = np.flatnonzero((some > max(0, least)) & (some <= most))
            numbers.append(here + row)
            places.append(some[here])
        if numbers:
            order = np.argsort(-np.concatenate(places))
            final.put(np.concatenate(numbers)[order], np.arange(count + 1, count + 1 + len(order)))
            count += len(order)
    return final, count


class CellFacts:
    """Sizes, centres and probabilities of the cells of an image, gathered block by block.

    Args:
        folder: for the table.
        count: of cells; they are numbered from 1.
        axes: of the image.
        classes: whose probabilities are added; 0: none.
    """

    def __init__(self, folder: Path, count: int, axes: int, classes: int = 0) -> None:
        self.count, self.axes, self.classes = count, axes, classes
        self._table = DiskTable(folder, count + 1, 1 + axes + classes)

    def add(self, spans: Spans, cells: Numbered, probability: np.ndarray | None = None) -> None:
        """The cells of a block.

        Args:
            probability: of each class but the background's, (classes, x, y[, z]).
        """
        sums = [cells.counts()]
        for axis, (a, b) in enumerate(spans):
            sums.append(cells.sums(np.arange(a, b).reshape([-1 if i == axis else 1 for i in range(len(spans))])))
        sums += [cells.sums(np.rint(one * np.float64(PARTS))) for one in ([] if probability is None else probability)]
        self._table.add(cells.numbers, np.stack(sums, axis=1))

    def rows(self) -> Iterator[tuple[int, int, np.ndarray, int]]:
        """Number, px, centre (px) and, of ``classes``, the likeliest from 1 on, cell by cell."""
        for start in range(1, self.count + 1, _ROWS):
            some = self._table.slab(start, min(start + _ROWS, self.count + 1))
            sizes, sums, classes = np.split(some, [1, 1 + self.axes], axis=1)
            centres = sums / np.maximum(sizes, 1)
            likeliest = 1 + classes.argmax(axis=1) if self.classes else np.zeros(len(some), int)
            yield from zip(
                range(start, start + len(some)), sizes[:, 0].tolist(), centres, likeliest.tolist(), strict=True
            )
