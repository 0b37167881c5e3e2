"""Warping error of the ISBI 2012 challenge (Jain et al. 2010), as Fiji's Trainable Segmentation 3.2 computes it.

The true map is bent towards the thresholded proposal by flipping simple points, which changes the shape of cells and
membranes but never their topology. What still differs when no pixel can be flipped any more is an error that no shift
of a border explains; the pixels among it that split one cell or merge two are what the challenge counts.

- Cells are 4-connected, membranes 8-connected, and all is membrane outside the slice.
- Pixels are tried in the order of abs(proposal - threshold) in float32, largest first, ties column by column, again
  and again until a whole pass flips none.
- A residual pixel is classified by the components among the up to 8 neighbours that lie inside the slice.
- Splits and mergers are counted in pixels: a gap in a membrane costs its length, a false membrane its thickness. The
  original can also count connected errors; the challenge's value does not.

Two oddities of the original are kept. A cell pixel with a second cell at its corner is a split, whatever flipping it
would do. And only neighbours inside the slice tell the kind: in a slice of one row or one column a wall between two
cells is a hole, not a merger, and in one of a single pixel every miss is a merger or a split.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from transforms.compiling import compiled


class Mismatch(IntEnum):
    """What a residual pixel would do to the warped truth if it took the proposal's value."""

    NONE = 0
    SPLIT = 1
    MERGER = 2
    HOLE_ADDITION = 3
    HOLE_DELETION = 4
    OBJECT_ADDITION = 5
    OBJECT_DELETION = 6


def warping_counts(
    truth: NDArray[np.bool_], proposal: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Splits, mergers, all residual mismatches and pixels of one slice; those of several slices add up.

    Args:
        truth: (H, W), true where there is cell.
        proposal: (H, W) float32, probability of cell in 0..1; a cell where strictly above the threshold.
        thresholds: (T,).

    Returns:
        (T, 4) counts in px. The last but one over the last is the warping error of Jain et al., all kinds counted.
    """
    regions, values = _regions(truth), _columns(proposal)
    rows = []
    for threshold in np.asarray(thresholds, dtype=np.float64):
        kinds = _mismatches(regions, values, threshold)[1]
        splits, mergers = (np.count_nonzero(kinds == kind) for kind in (Mismatch.SPLIT, Mismatch.MERGER))
        rows.append((splits, mergers, len(kinds), values.size))
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def warping_curve(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The challenge's error at every threshold: (splits + mergers) / px. Its minimum is the score.

    Args:
        counts: (T, 4) of :func:`warping_counts`, summed over the slices.
    """
    splits, mergers, _, pixels = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    error: NDArray[np.float64] = (splits + mergers) / pixels
    return error


def warping_mismatches(truth: NDArray[np.bool_], proposal: NDArray[np.float32], threshold: float) -> NDArray[np.int8]:
    """The residual pixels of one slice at one threshold.

    Args:
        truth: (H, W), true where there is cell.
        proposal: (H, W) float32, probability of cell in 0..1.
        threshold: a cell where strictly above.

    Returns:
        (H, W) int8 of :class:`Mismatch`, 0 where the warped truth equals the thresholded proposal.
    """
    values = _columns(proposal)
    places, kinds = _mismatches(_regions(truth), values, np.float64(threshold))
    found = np.zeros(values.size, np.int8)
    found[places] = kinds
    return np.ascontiguousarray(found.reshape(values.shape).T)


def _crossings() -> NDArray[np.int64]:
    """Yokoi's crossing number of the 256 neighbourhoods: groups of cell pixels that meet at the pixel.

    Bit 0 is one of the four nearest, the others follow around the pixel. It is 1 at simple points, and 0 inside a
    cell and where none of the four nearest belongs to one (Yokoi, Toriwaki and Fukumura 1975, 4-adjacency).
    """
    ring = np.arange(256)[:, None] >> np.arange(8) & 1
    groups = [ring[:, k] * (1 - ring[:, k + 1] * ring[:, (k + 2) % 8]) for k in (0, 2, 4, 6)]
    return np.asarray(np.sum(groups, axis=0))


CROSSINGS = _crossings()
#: the neighbours in the order of the bits
AROUND = np.array([(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)])


def _columns(proposal: NDArray[np.float32]) -> NDArray[np.float64]:
    """The slice transposed, so that its order in memory is that of ties; in float64, as thresholds are."""
    return np.ascontiguousarray(proposal.T, dtype=np.float64)


def _regions(truth: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(W + 2, H + 2): the components of the transposed slice inside a frame of membrane; membranes are negative."""
    cells = np.pad(truth.T, 1)
    regions: NDArray[np.int32] = label(cells)[0] - label(~cells, structure=np.ones((3, 3)))[0]
    return regions


def _mismatches(
    regions: NDArray[np.int32], values: NDArray[np.float64], threshold: np.float64
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Residual pixels, as indices into ``values``, and their kinds."""
    queue = np.flatnonzero((values > threshold) != (regions[1:-1, 1:-1] > 0))
    distance = np.abs(values.ravel()[queue] - threshold).astype(np.float32)
    queue = queue[np.argsort(-distance, kind="stable")]
    warped = regions.copy()
    left = _warp(warped, queue)
    return left, _classify(warped, left)


@compiled()
def _neighbourhood(regions: NDArray[np.int32], y: int, x: int) -> int:  # pragma: no cover - compiled
    code = 0
    for k in range(8):
        if regions[y + AROUND[k, 0], x + AROUND[k, 1]] > 0:
            code |= 1 << k
    return code


@compiled()
def _warp(regions: NDArray[np.int32], queue: NDArray[np.int64]) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Flip the simple points of ``queue`` in place until none is left; returns what remains of it.

    Flipping a simple point hands it from a component to the only one of the other phase that it touches, so the
    components need no labelling but the first.
    """
    width = regions.shape[1] - 2
    left = queue.copy()
    count = len(left)
    while True:
        kept = 0
        for i in range(count):
            y, x = left[i] // width + 1, left[i] % width + 1
            if CROSSINGS[_neighbourhood(regions, y, x)] != 1:
                left[kept] = left[i]
                kept += 1
                continue
            was_cell = regions[y, x] > 0
            # a cell takes over through one of the four nearest, a membrane through any neighbour
            for k in range(0, 8, 1 if was_cell else 2):
                neighbour = regions[y + AROUND[k, 0], x + AROUND[k, 1]]
                if (neighbour > 0) != was_cell:
                    regions[y, x] = neighbour
                    break
        if kept == count:
            return left[:count]
        count = kept


@compiled()
def _classify(regions: NDArray[np.int32], places: NDArray[np.int64]) -> NDArray[np.int8]:  # pragma: no cover - compiled
    height, width = regions.shape[0] - 2, regions.shape[1] - 2
    kinds = np.empty(len(places), np.int8)
    seen = np.empty(8, regions.dtype)
    for i in range(len(places)):
        y, x = places[i] // width + 1, places[i] % width + 1
        is_cell = regions[y, x] > 0
        count, cells, membrane_inside = 0, 0, 0
        for k in range(8):
            v, u = y + AROUND[k, 0], x + AROUND[k, 1]
            region = regions[v, u]
            if region < 0 and 1 <= v <= height and 1 <= u <= width:
                membrane_inside = 1
            new = True
            for j in range(count):
                new = new and seen[j] != region
            if new:
                seen[count] = region
                count += 1
                cells += region > 0
        if cells + membrane_inside == 1:
            if membrane_inside:
                kinds[i] = Mismatch.OBJECT_DELETION if is_cell else Mismatch.OBJECT_ADDITION
            else:
                kinds[i] = Mismatch.HOLE_ADDITION if is_cell else Mismatch.HOLE_DELETION
        elif cells + membrane_inside != 2:
            kinds[i] = Mismatch.SPLIT if is_cell else Mismatch.MERGER
        elif not is_cell:
            kinds[i] = Mismatch.HOLE_ADDITION
        elif CROSSINGS[_neighbourhood(regions, y, x)] > count - cells:
            # so many groups of cell pixels meet here as arcs of membrane lie between them; every two arcs that are
            # of one membrane hold two groups together (Euler's formula), so with more groups than membranes it splits
            kinds[i] = Mismatch.SPLIT
        else:
            kinds[i] = Mismatch.HOLE_DELETION
    return kinds
