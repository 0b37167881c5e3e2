"""Regions of a slice as runs of pixels: components, and the overlap of two sets of regions.

A slice is read as one line in which an empty pixel follows every row, so that no run crosses rows and the pixel
above is one width back. Runs are some thirty times fewer than the pixels of an EM slice, and both the union of
touching runs and the overlap of two sets are single sweeps over sorted runs, without a label map or a dense table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.compiling import compiled

Integers = NDArray[np.int64]


class Regions(NamedTuple):
    """Disjoint regions of an (H, W) slice; a pixel (y, x) has position y (W + 1) + x.

    Attributes:
        runs: (N, 2) int64, position of the first pixel of each run and one past its last, ascending.
        numbers: (N,) int64, 1.. ``total``: the region each run belongs to.
        total: number of regions.
    """

    runs: Integers
    numbers: Integers
    total: int


class Overlap(NamedTuple):
    """The pixels of one set of regions, the truth, divided by another: all int64 numbers of px.

    Attributes:
        shared: of every pair of a true and a proposed region that overlap.
        truth: of every true region.
        proposed: of every proposed region, within the truth.
        unclaimed: of the truth that no proposed region claims.
    """

    shared: Integers
    truth: Integers
    proposed: Integers
    unclaimed: int


def components(cells: NDArray[np.bool_]) -> Regions:
    """4-connected components of an (H, W) mask, numbered by their first pixel in reading order."""
    height, width = cells.shape
    length = height * (width + 1)
    line = np.zeros(length + -length % 8, dtype=bool)
    line[:length].reshape(height, width + 1)[:, :width] = cells
    runs = _changes(line.view("<u8")).reshape(-1, 2)
    return Regions(runs, *_number(runs, width + 1))


def overlap(truth: Regions, proposed: Regions) -> Overlap:
    """How regions of the same slice overlap."""
    shared, sizes, claimed = _overlap(*truth, *proposed)
    return Overlap(shared, sizes, claimed, int(sizes.sum() - claimed.sum()))


@compiled()
def _changes(words: NDArray[np.uint64]) -> Integers:  # pragma: no cover - compiled
    """Where a line of bytes 0 and 1 changes, eight of them to a little-endian word: most words hold no change."""
    positions = np.empty(8 * len(words) + 1, np.int64)
    count, last = np.int64(0), np.uint64(0)
    for index in range(len(words)):
        word = words[index]
        changed = word ^ (word << np.uint64(8) | last)
        last = word >> np.uint64(56)
        if changed:
            for byte in range(8):
                positions[count] = 8 * index + byte
                count += np.int64(changed >> np.uint64(8 * byte) & np.uint64(1))
    return positions[:count].copy()


@compiled()
def _number(runs: Integers, width: int) -> tuple[Integers, int]:  # pragma: no cover - compiled
    """Union of the runs that touch a run one row above: the number of each run's component, and how many."""
    parent = np.arange(len(runs))
    above = 0
    for run in range(len(runs)):
        start, stop = runs[run, 0] - width, runs[run, 1] - width
        while runs[above, 1] <= start:
            above += 1
        own, other = run, above
        while runs[other, 0] < stop:  # at the latest false for the run itself
            root = other
            while parent[root] != root:
                parent[root] = parent[parent[root]]
                root = parent[root]
            own, child = min(own, root), max(own, root)
            parent[child] = own
            other += 1
    numbers = np.empty(len(runs), np.int64)
    count = 0
    for run in range(len(runs)):
        if parent[run] == run:
            count += 1
            numbers[run] = count
        else:
            numbers[run] = numbers[parent[run]]  # a parent comes before its children
    return numbers, count


@compiled()
def _overlap(  # pragma: no cover - compiled
    runs: Integers, numbers: Integers, count: int, other_runs: Integers, other_numbers: Integers, other_count: int
) -> tuple[Integers, Integers, Integers]:
    """Shared pixels of every overlapping pair, all pixels of the first set's regions, and the second's in the first."""
    size, claimed = np.zeros(count + 1, np.int64), np.zeros(other_count + 1, np.int64)
    # the pieces into which the runs cut each other, in one linked list for each region of the first set
    most = len(runs) + len(other_runs)
    latest, earlier = np.full(count + 1, -1), np.empty(most, np.int64)
    number, length = np.empty(most, np.int64), np.empty(most, np.int64)
    pieces = first = 0
    for run in range(len(runs)):
        start, stop = runs[run]
        region = numbers[run]
        size[region] += stop - start
        while first < len(other_runs) and other_runs[first, 1] <= start:
            first += 1
        other = first
        while other < len(other_runs) and other_runs[other, 0] < stop:
            number[pieces] = other_numbers[other]
            length[pieces] = min(stop, other_runs[other, 1]) - max(start, other_runs[other, 0])
            earlier[pieces], latest[region] = latest[region], pieces
            pieces += 1
            other += 1

    shared = np.empty(pieces, np.int64)
    with_region = np.zeros(other_count + 1, np.int64)
    pairs = 0
    for region in range(1, count + 1):
        piece = latest[region]
        while piece >= 0:
            with_region[number[piece]] += length[piece]
            piece = earlier[piece]
        piece = latest[region]
        while piece >= 0:
            if with_region[number[piece]] > 0:
                shared[pairs] = with_region[number[piece]]
                claimed[number[piece]] += shared[pairs]
                with_region[number[piece]] = 0
                pairs += 1
            piece = earlier[piece]
    return shared[:pairs], size[1:], claimed[1:]
