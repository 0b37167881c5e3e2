"""The sweeps of ``nearest_cells``, compiled. Labels are 0 where absent.

Squared distances are int32 between pixels that are 1 apart along every axis, and exact; else float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.compiling import compiled

Integers = NDArray[np.int32]
Floats = NDArray[np.float64]
Squares = NDArray[Any]

#: squared distance to a cell that is not there
ABSENT = int(np.iinfo(np.int32).max)


@compiled()
def along_columns(
    cells: Integers, square1: Squares, square2: Squares, spacing: float, first: int
) -> tuple[Integers, Integers]:  # pragma: no cover - compiled
    """Two nearest cells within every column, from one sweep down and one sweep up; fills the squared distances.

    Only of the rows from ``first`` on, as many as the squares have.
    """
    n, columns = cells.shape
    rows = len(square1)
    scale = spacing * spacing
    label1, label2 = np.zeros((rows, columns), np.int32), np.zeros((rows, columns), np.int32)
    last1, seen1 = np.zeros(columns, np.int32), np.zeros(columns, np.int32)
    last2, seen2 = np.zeros(columns, np.int32), np.zeros(columns, np.int32)

    for i in range(first + rows):
        _see(cells[i], i, last1, seen1, last2, seen2)
        row = i - first
        if row < 0:
            continue
        for j in range(columns):
            label1[row, j], label2[row, j] = last1[j], last2[j]
            square1[row, j] = scale * (i - seen1[j]) ** 2 if last1[j] else ABSENT
            square2[row, j] = scale * (i - seen2[j]) ** 2 if last2[j] else ABSENT

    last1[:] = 0
    last2[:] = 0
    for i in range(n - 1, first - 1, -1):
        _see(cells[i], i, last1, seen1, last2, seen2)
        row = i - first
        if row >= rows:
            continue
        for j in range(columns):
            if last1[j] == 0:
                continue
            below1 = scale * (seen1[j] - i) ** 2
            below2 = scale * (seen2[j] - i) ** 2 if last2[j] else float(ABSENT)
            above, above_square = label1[row, j], float(square1[row, j])
            if below1 < above_square:
                # the second nearest is the nearest above, or the second above if that is the same cell
                if above == last1[j]:
                    above, above_square = label2[row, j], float(square2[row, j])
                label1[row, j], square1[row, j] = last1[j], below1
                if below2 < above_square:
                    above, above_square = last2[j], below2
                label2[row, j], square2[row, j] = above, above_square
            else:
                below, below_square = last1[j], below1
                if above == below:
                    below, below_square = last2[j], below2
                if below_square < square2[row, j]:
                    label2[row, j], square2[row, j] = below, below_square
    return label1, label2


@compiled()
def _see(  # pragma: no cover - compiled
    row: Integers, i: int, last1: Integers, seen1: Integers, last2: Integers, seen2: Integers
) -> None:
    """The two cells seen last in every column, and where, after row ``i`` as well."""
    for j in range(len(row)):
        cell = row[j]
        if cell > 0:
            if cell != last1[j]:
                last2[j], seen2[j] = last1[j], seen1[j]
                last1[j] = cell
            seen1[j] = i


@compiled()
def along_rows(  # pragma: no cover - compiled
    label1: Integers, square1: Squares, label2: Integers, square2: Squares, spacing: float
) -> None:
    """Replace the two nearest cells of every pixel by the two nearest over its whole row, in place."""
    lines, n = label1.shape
    site, start = np.empty(n), np.empty(n)
    height, label = np.empty(n), np.empty(n, np.int32)
    best1, name1 = np.empty_like(square1[0]), np.empty(n, np.int32)
    best2, name2 = np.empty_like(square1[0]), np.empty(n, np.int32)

    for line in range(lines):
        l1, s1, l2, s2 = label1[line], square1[line], label2[line], square2[line]
        count = 0
        for x in range(n):
            count = _add_parabola(x * spacing, s1[x], l1[x], count, site, start, height, label)
        if count == 0:
            continue  # no cell anywhere on the line: all absent already
        _walk(0, n, spacing, count, site, start, height, label, best1, name1)

        first = 0
        while first < n:
            nearest, stop = name1[first], first + 1
            while stop < n and name1[stop] == nearest:
                stop += 1
            # the neighbouring run belongs to another cell: from anywhere in the run that cell is no further away
            # than the way to the neighbour plus the neighbour's own distance, so no site beyond that can win
            low, high = 0, n
            if first > 0:
                low = max(0, int(first - 1 - np.sqrt(best1[first - 1]) / spacing))
            if stop < n:
                high = min(n, int(stop + np.sqrt(best1[stop]) / spacing) + 2)
            count = 0
            for x in range(low, high):
                if l1[x] != nearest:
                    count = _add_parabola(x * spacing, s1[x], l1[x], count, site, start, height, label)
                else:
                    count = _add_parabola(x * spacing, s2[x], l2[x], count, site, start, height, label)
            _walk(first, stop, spacing, count, site, start, height, label, best2, name2)
            first = stop
        l1[:], s1[:], l2[:], s2[:] = name1, best1, name2, best2


@compiled()
def near_in_rows(
    label1: Integers, square1: Integers, label2: Integers, square2: Integers, first: int, stop: int, limit: float
) -> tuple[Integers, Integers]:  # pragma: no cover - compiled
    """Squared distances as of :func:`along_rows` with spacing 1, of the columns ``first`` .. ``stop``.

    By trying all sites within ``limit`` px, at most 127, in loops that become vector instructions: some three times as
    fast as envelopes. Exact where d1 is at most ``limit / 2`` and d2 at most ``limit``, else too large or absent.
    """
    lines, n = label1.shape
    reach, near, far = int(limit), int(limit * limit / 4), 1 << 22
    width, half = stop - first, reach // 2
    found1, found2 = np.empty((lines, width), np.int32), np.empty((lines, width), np.int32)
    # sites with ``reach`` more on either side, where no cell is
    keys, names = np.full(n + 2 * reach, far << 8, np.int32), np.zeros(n + 2 * reach, np.int32)
    one, two = np.full(n + 2 * reach, far, np.int32), np.full(n + 2 * reach, far, np.int32)
    best, nearest = np.empty(width, np.int32), np.empty(width, np.int32)
    for line in range(lines):
        for x in range(n):
            one[reach + x], two[reach + x] = min(square1[line, x], far), min(square2[line, x], far)
            keys[reach + x], names[reach + x] = min(square1[line, x], far) << 8, label1[line, x]
        best[:] = far << 8
        for k in range(-half, half + 1):
            _nearest_key(keys[first + reach + k :], np.int32((k * k << 8) + k + 128), best)
        for x in range(width):
            square, site = best[x] >> 8, (best[x] & 255) - 128
            nearest[x] = names[first + reach + x + site] if square <= near else 0
            found1[line, x] = square if square <= near else ABSENT
        best[:] = far
        for k in range(-reach, reach + 1):
            at = first + reach + k
            _nearest_other(one[at:], two[at:], names[at:], nearest, np.int32(k * k), best)
        for x in range(width):
            found2[line, x] = best[x] if best[x] < far and nearest[x] > 0 else ABSENT
    return found1, found2


@compiled()
def _nearest_key(keys: Integers, more: np.int32, best: Integers) -> None:  # pragma: no cover - compiled
    """The lowest of squared distance and, in the last 8 bits, where it is."""
    for x in range(len(best)):
        best[x] = min(best[x], np.int32(keys[x] + more))


@compiled()
def _nearest_other(
    one: Integers, two: Integers, names: Integers, nearest: Integers, more: np.int32, best: Integers
) -> None:  # pragma: no cover - compiled
    """The lowest squared distance to another cell than the nearest."""
    for x in range(len(best)):
        mine, others = two[x], one[x]  # both are read, whichever counts: only so the compiler takes many at a time
        best[x] = min(best[x], np.int32((mine if names[x] == nearest[x] else others) + more))


@compiled()
def _add_parabola(  # pragma: no cover - compiled
    x: float, square: float, name: int, count: int, site: Floats, start: Floats, height: Floats, label: Integers
) -> int:
    """Add the parabola at ``x`` to the envelope; ``start`` is where it becomes the lowest. Returns the count.

    The quotient is one of whole numbers below 2^53 where spacing is 1, so a float64 is on the right side of every
    pixel; else of rounded ones, and two sites that are equally far but for the rounding may change places.
    """
    if square == ABSENT:
        return count
    constant = float(square) + x * x
    crossing = -np.inf
    while count > 0:
        crossing = (constant - height[count - 1]) / (2.0 * (x - site[count - 1]))
        if crossing > start[count - 1]:
            break
        count -= 1
        crossing = -np.inf
    site[count], start[count], height[count], label[count] = x, crossing, constant, name
    return count + 1


@compiled()
def _walk(  # pragma: no cover - compiled
    first: int,
    stop: int,
    spacing: float,
    count: int,
    site: Floats,
    start: Floats,
    height: Floats,
    label: Integers,
    best: Squares,
    name: Integers,
) -> None:
    """Read the envelope at the pixels ``first`` .. ``stop``: lowest squared distance and whose it is."""
    if count == 0:
        best[first:stop] = ABSENT
        name[first:stop] = 0
        return
    k = 0
    for i in range(first, stop):
        x = i * spacing
        while k + 1 < count and start[k + 1] < x:
            k += 1
        best[i] = max(0.0, height[k] - x * (2.0 * site[k] - x))
        name[i] = label[k]
