"""The pass over all pixels of ``separation`` in 2D, compiled: numpy takes much longer for its many steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transforms.compiling import compiled

Integers = NDArray[np.int32]
Mask = NDArray[np.bool_]

NONE = np.int32(np.iinfo(np.int32).max)


@compiled()
def beside_others(cells: Integers) -> tuple[Mask, Mask]:  # pragma: no cover - compiled
    """Pixels HW of cells that are 8-neighbours of a lower-numbered cell, and those of a higher-numbered one."""
    height, width = cells.shape
    later, earlier = np.empty((height, width), np.bool_), np.empty((height, width), np.bool_)
    # lowest and highest cell of three pixels above one another, with an empty column at either end
    low, high = np.full(width + 2, NONE), np.zeros(width + 2, np.int32)
    for i in range(height):
        _three_rows(cells[max(0, i - 1)], cells[i], cells[min(height - 1, i + 1)], low[1:], high[1:])
        _one_row(cells[i], low, high, later[i], earlier[i])
    return later, earlier


@compiled()
def _three_rows(
    above: Integers, row: Integers, below: Integers, low: Integers, high: Integers
) -> None:  # pragma: no cover - compiled
    for j in range(len(row)):
        a, b, c = above[j], row[j], below[j]
        high[j] = max(a, b, c)
        low[j] = min(a if a > 0 else NONE, b if b > 0 else NONE, c if c > 0 else NONE)


@compiled()
def _one_row(
    row: Integers, low: Integers, high: Integers, later: Mask, earlier: Mask
) -> None:  # pragma: no cover - compiled
    for j in range(len(row)):
        cell = row[j]
        later[j] = (cell > 0) & (min(low[j], low[j + 1], low[j + 2]) < cell)
        earlier[j] = (cell > 0) & (max(high[j], high[j + 1], high[j + 2]) > cell)
