"""From a label map to outlines along the edges of pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from skimage.measure import label as connected

from bundle.data.regions.region import Polygon
from transforms.compiling import compiled

__all__ = ["traced"]

# steps (rows, columns) along an edge to the right, down, left, up; and from a corner to the pixels ahead, on the left
# and on the right
_STEP = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)], np.int64)
_LEFT = np.array([(-1, 0), (0, 0), (0, -1), (-1, -1)], np.int64)
_RIGHT = np.array([(0, 0), (0, -1), (-1, -1), (-1, 0)], np.int64)


def traced(labels: np.ndarray) -> Mapping[int, list[Polygon]]:
    """The polygons of each label: one for each part whose pixels hang together by their sides, with a ring for each of
    its holes.

    No ring crosses or touches itself, and the rings of one polygon touch in single points at most: polygons are valid
    by OGC's simple features. Outlines run clockwise on the screen, holes the other way round.

    Args:
        labels: HW of any integer type, rows and columns; values below 1 are background.

    Returns:
        label -> polygons of integer corners (x, y), int32, in the order of their first pixels.

    Examples:
        >>> traced(np.array([[0, 7, 7]]))[7][0][0].tolist()
        [[1, 0], [3, 0], [3, 1], [1, 1]]
    """
    labels = np.ascontiguousarray(labels)
    # a diagonal neighbour is no part: a ring through both would touch itself
    parts = connected(np.maximum(labels, 0), connectivity=1).astype(np.int32, copy=False)
    most = _count_corners(parts)
    corners, ends = np.empty((most, 2), np.int32), np.empty((most // 4 + 1, 2), np.int64)
    count = _trace(parts, np.zeros(parts.shape, np.bool_), corners, ends, _STEP, _LEFT, _RIGHT)
    found: dict[int, list[list[np.ndarray]]] = {}
    of_part: dict[int, list[np.ndarray]] = {}
    start = 0
    for end, part in ends[:count].tolist():
        ring = corners[start:end]
        start = end
        if part in of_part:  # its outline came first, from its first pixel
            of_part[part].append(ring)
            continue
        of_part[part] = [ring]
        x, y = ring[0]
        found.setdefault(int(labels[y, x]), []).append(of_part[part])
    return found  # type: ignore[return-value]


@compiled()
def _count_corners(parts: np.ndarray) -> int:
    """At least the corners of all rings: each pixel at a corner of pixels that are not all of one part has one."""
    high, wide = parts.shape
    count = 0
    for row in range(high + 1):
        for column in range(wide + 1):
            first = -1
            differ = False
            here = 0
            for up in range(2):
                for left in range(2):
                    y, x = row - up, column - left
                    value = parts[y, x] if 0 <= y < high and 0 <= x < wide else 0
                    here += value > 0
                    if first < 0:
                        first = value
                    elif value != first:
                        differ = True
            if differ:
                count += here
    return count


@compiled()
def _trace(
    parts: np.ndarray,
    seen: np.ndarray,
    corners: np.ndarray,
    ends: np.ndarray,
    step: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
) -> int:
    """Walk along each ring with its part on the right; ``seen`` are pixels whose upper edge has been walked."""
    high, wide = parts.shape
    rings, filled = 0, 0
    for row in range(high):
        for column in range(wide):
            part = parts[row, column]
            if part == 0 or seen[row, column] or (row > 0 and parts[row - 1, column] == part):
                continue
            y, x, way = row, column, 0
            while True:
                corners[filled, 0], corners[filled, 1] = x, y
                filled += 1
                turned = way
                while turned == way:
                    if way == 0:
                        seen[y, x] = True
                    y, x = y + step[way, 0], x + step[way, 1]
                    a, b = y + left[way, 0], x + left[way, 1]
                    if 0 <= a < high and 0 <= b < wide and parts[a, b] == part:
                        turned = (way + 3) % 4  # also where it goes on over a corner alone: around the gap
                    else:
                        a, b = y + right[way, 0], x + right[way, 1]
                        if not (0 <= a < high and 0 <= b < wide and parts[a, b] == part):
                            turned = (way + 1) % 4
                way = turned
                if way == 0 and y == row and x == column:
                    break
            ends[rings, 0], ends[rings, 1] = filled, part
            rings += 1
    return rings
