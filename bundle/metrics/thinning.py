"""Border thinning of the ISBI 2012 challenge: membranes of any width become the lines where cells meet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.components import Regions, components
from transforms.compiling import compiled

#: a membrane pixel that the flood has not reached, one whose turn is to come, and one where cells meet
_DRY, _WAITING, _DAM = -2, -1, 0


def thinned(cells: NDArray[np.bool_]) -> Regions:
    """Flood the membranes from the cells.

    The watershed of Vincent and Soille (1991) on an image of two levels, 4-connected: its basins start as the
    components of the cells and grow over the membrane in the order of a queue, which holds first the membrane pixels
    that touch a cell, in reading order. A pixel whose turn comes joins the cell that its neighbours belong to by
    then; next to two cells or more, or to dams alone, it becomes a dam itself, and its dry neighbours queue up
    either way. Neighbours of one pixel are never neighbours of each other, so that the order among them is
    immaterial; that of the first pixels is not: where a membrane is an even number of pixels wide, it says on which
    side of the middle the dam runs. Without any cell the image is level, one basin.

    Args:
        cells: (H, W). The challenge's program reads columns, so it gets the transpose of a slice.

    Returns:
        the basins, each around one component; pixels of none are dams, one or two px wide.
    """
    height, width = cells.shape
    if not cells.any():
        return components(~cells)
    cores = components(cells)
    # rows as in Regions, with an empty one before and one after; a frame that waits for ever bounds the flood
    basins = np.full((height + 2, width + 1), _WAITING, dtype=np.int32)
    basins[1:-1, :-1] = _DRY
    line = basins.ravel()
    _flood(line, cores.runs, cores.numbers, width + 1)
    np.maximum(line, _DAM, out=line)
    edges = np.flatnonzero(line[1:] != line[:-1]) + 1
    inside = np.flatnonzero(line[edges] > 0)  # basins never touch: a run ends at the next edge
    runs = np.stack([edges[inside], edges[inside + 1]], axis=1)
    return Regions(runs - (width + 1), line[runs[:, 0]].astype(np.int64), cores.total)


@compiled()
def _flood(  # pragma: no cover - compiled
    line: NDArray[np.int32], runs: NDArray[np.int64], numbers: NDArray[np.int64], width: int
) -> None:
    """Replace what is dry in ``line`` by the number of its basin, or by a dam, in place."""
    dry = len(line)
    for run in range(len(runs)):
        line[runs[run, 0] + width : runs[run, 1] + width] = numbers[run]
        dry -= runs[run, 1] - runs[run, 0]
    around = (-width, -1, 1, width)
    queue = np.empty(dry, np.int64)
    end = 0
    for pixel in range(width, len(line) - width):
        if line[pixel] == _DRY:
            for step in around:
                if line[pixel + step] > 0:
                    line[pixel] = _WAITING
                    queue[end] = pixel
                    end += 1
                    break
    turn = 0
    while turn < end:
        pixel = queue[turn]
        turn += 1
        basin = _DAM
        meet = False
        for step in around:
            beside = line[pixel + step]
            if beside > 0:
                meet |= basin > 0 and basin != beside
                basin = beside
            elif beside == _DRY:
                line[pixel + step] = _WAITING
                queue[end] = pixel + step
                end += 1
        line[pixel] = _DAM if meet else basin
