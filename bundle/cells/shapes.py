"""Shapes of the cells of a plane, all cells at once: place, moments, perimeter and convex hull."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bundle.cells.strips import strips

#: what a pixel of an outline adds to the perimeter, by how many neighbours it has on the outline: 1 straight, 2
#: diagonal, 3 half of each; its number is 1 + 2 for each over a side + 10 for each over a corner
_KINDS = np.zeros(50, np.int64)
_KINDS[[5, 7, 15, 17, 25, 27]], _KINDS[[21, 33]], _KINDS[[13, 23]] = 1, 2, 3
_LENGTHS = np.array([0, 1, np.sqrt(2), (1 + np.sqrt(2)) / 2])
#: no point
_NONE = np.iinfo(np.int64).max


def plane_shapes(cells: np.ndarray) -> dict[str, np.ndarray]:
    """What :func:`skimage.measure.regionprops_table` tells of ``cells.T``, cell by cell there.

    Args:
        cells: (x, y) integers, 1 and more in cells.

    Returns:
        name -> (N,) float64, in the order of their numbers: "label", "area" (px), "centroid-0" and "centroid-1" (x, y),
        "perimeter" (K. Benkrid, D. Crookes, Design and FPGA implementation of a perimeter estimator, 2000), of the
        ellipse of the same second moments "axis_major_length", "axis_minor_length", "eccentricity" and "orientation"
        (radians from the y axis), and "solidity", area over pixels in the convex hull.
    """
    there = cells[cells > 0]
    if there.size == 0:
        names = ("label", "area", "centroid-0", "centroid-1", "perimeter", "axis_major_length", "axis_minor_length")
        return {name: np.zeros(0) for name in (*names, "eccentricity", "orientation", "solidity")}
    least = int(there.min())
    highest = int(there.max()) - least + 1  # of a slice of a stack, the numbers begin anywhere
    first, last, left = (np.full(highest, -1) for _ in range(3))
    for which, x, start, _ in _runs(cells, least):
        new = first[which] < 0
        # of several values for one place the last one stays
        first[which[new][::-1]], left[which[new][::-1]] = x[new][::-1], start[new][::-1]
        last[which] = x
    sums = np.zeros((6, highest))
    heights = np.where(first < 0, 0, last - first + 1)
    offsets = np.cumsum(heights) - heights
    low, high = np.full(heights.sum(), _NONE), np.full(heights.sum(), _NONE)
    for which, x, start, stop in _runs(cells, least):
        slots = offsets[which] + x - first[which]
        low[slots[::-1]], high[slots] = start[::-1], -stop
        count, a, b, e = stop - start + 1, x - first[which], start - left[which], stop - left[which]
        of_b, of_squares = (b + e) * count / 2, _squares(e) - _squares(b - 1)
        for row, weights in enumerate((count, a * count, of_b, a * a * count, of_squares, a * of_b)):
            sums[row] += np.bincount(which, weights, minlength=highest)
    known = first >= 0
    area, *_ = sums = sums[:, known]
    heights = heights[known]
    hull = _rows_of_hull(heights, high) + _rows_of_hull(heights, low)
    convex = np.add.reduceat(1 - hull, np.cumsum(heights) - heights)
    perimeter = (_perimeter_kinds(cells, least, highest)[known] * _LENGTHS).sum(axis=1)
    return {
        "label": np.flatnonzero(known) + float(least),
        "area": area,
        "centroid-0": first[known] + sums[1] / area,
        "centroid-1": left[known] + sums[2] / area,
        "perimeter": perimeter,
        **_ellipses(*sums),
        "solidity": area / convex,
    }


def _runs(cells: np.ndarray, least: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Number - ``least``, x, first and last y of every run of pixels of one cell along y, by x, strip by strip."""
    for rows, _ in strips(cells.shape):
        part = cells[rows]
        inside = part > 0
        start, stop = inside.copy(), inside
        change = part[:, 1:] != part[:, :-1]
        start[:, 1:] &= change
        stop[:, :-1] &= change
        x, y = np.nonzero(start)
        yield part[x, y].astype(np.int64) - least, x + rows.start, y, np.nonzero(stop)[1]


def _squares(n: np.ndarray) -> np.ndarray:
    """The sum of 0, 1, 4 .. n^2; its difference at b and a - 1 is the sum from a^2 to b^2, of negative ones, too."""
    return np.asarray(n * (n + 1) * (2 * n + 1) // 6)


def _ellipses(
    count: np.ndarray, x: np.ndarray, y: np.ndarray, xx: np.ndarray, yy: np.ndarray, xy: np.ndarray
) -> dict[str, np.ndarray]:
    """Of sums over pixels, which are whole numbers: what is 0 is 0 exactly."""
    along_x, along_y, both = count * xx - x * x, count * yy - y * y, count * xy - x * y
    larger = (along_x + along_y) / 2 + np.hypot((along_x - along_y) / 2, both)
    smaller = np.maximum((along_x * along_y - both * both) / np.where(larger > 0, larger, 1), 0)
    diagonal = np.where(both > 0, np.pi / 4, -np.pi / 4)
    turned = np.where(
        both == 0, np.where(along_x > along_y, -np.pi / 2, 0), np.arctan2(2 * both, along_y - along_x) / 2
    )
    return {
        "axis_major_length": 4 * np.sqrt(larger) / count,
        "axis_minor_length": 4 * np.sqrt(smaller) / count,
        "eccentricity": np.sqrt(np.maximum(1 - smaller / np.where(larger > 0, larger, 1), 0)) * (larger > 0),
        "orientation": np.where(along_x == along_y, diagonal, turned),
    }


def _perimeter_kinds(cells: np.ndarray, least: int, highest: int) -> np.ndarray:
    """(N, 4): how many pixels of each cell's outline are of each kind."""
    kinds = np.zeros(highest * 4, np.int64)
    for rows, around in strips(cells.shape, halo=2):
        part = np.pad(cells[around], 1)
        inner = part[1:-1, 1:-1]
        outline = inner > 0
        outline &= (
            (inner != part[2:, 1:-1])
            | (inner != part[:-2, 1:-1])
            | (inner != part[1:-1, 2:])
            | (inner != part[1:-1, :-2])
        )
        lines = np.pad(np.where(outline, inner, 0), 1).ravel()
        x, y = np.nonzero(outline[rows.start - around.start : rows.stop - around.start])
        wide = part.shape[1]
        at = (x + rows.start - around.start + 1) * wide + y + 1
        own = lines[at]
        number = np.ones(len(at), np.int64)
        for step in (1, -1, wide, -wide):
            number += 2 * (lines[at + step] == own)
        for step in (wide + 1, wide - 1, 1 - wide, -1 - wide):
            number += 10 * (lines[at + step] == own)
        kinds += np.bincount((own.astype(np.int64) - least) * 4 + _KINDS[number], minlength=len(kinds))
    return kinds.reshape(highest, 4)


def _rows_of_hull(heights: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The lowest whole number within the convex hull in every row of every cell.

    A pixel is the four points half a pixel beside it, as skimage has it; all is in half pixels and in whole numbers.

    Args:
        heights: (N,), rows of each cell.
        low: (rows,), lowest pixel in each row, cell after cell; :data:`_NONE` where it has none.
    """
    rows = np.arange(len(low))
    middle = 2 * rows + np.repeat(np.arange(len(heights)), heights) + 1  # a cell has 2 height + 1 places
    there = low < _NONE
    lowest = np.full(2 * len(low) + len(heights), _NONE)
    at, value = middle[there], 2 * low[there]
    lowest[at] = value - 1
    for beside in (at - 1, at + 1):
        lowest[beside] = np.minimum(lowest[beside], value)
    points = np.flatnonzero(lowest < _NONE)
    value = lowest[points]
    owner = np.repeat(np.arange(len(heights)), 2 * heights + 1)[points]
    while True:  # leaves out what lies above the line between its neighbours, until nothing does
        before, here, after = points[:-2], points[1:-1], points[2:]
        turn = (value[1:-1] - value[:-2]) * (after - before) - (value[2:] - value[:-2]) * (here - before)
        keep = np.ones(len(points), np.bool_)
        keep[1:-1] = (turn < 0) | (owner[:-2] != owner[2:])
        if keep.all():
            break
        points, value, owner = points[keep], value[keep], owner[keep]
    index = np.searchsorted(points, middle, side="right") - 1
    start, stop = points[index], points[index + 1]
    scaled = value[index] * (stop - start) + (value[index + 1] - value[index]) * (middle - start)
    return np.asarray(-(-scaled // (2 * (stop - start))))
