"""From a label map to outlines along the edges of pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from skimage.measure import label as connected

from bundle.data.regions.region import Polygon

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
    from bundle.data.regions.rings_compiled import trace

    labels = np.ascontiguousarray(labels)
    # a diagonal neighbour is no part: a ring through both would touch itself
    parts = connected(np.maximum(labels, 0), connectivity=1).astype(np.int32, copy=False)
    # a ring has at most two corners for each horizontal edge, and as many upper edges as lower ones
    upper = np.count_nonzero(parts[:1]) + np.count_nonzero((parts[1:] > 0) & (parts[1:] != parts[:-1]))
    most = 4 * upper
    corners, ends = np.empty((most, 2), np.int32), np.empty((most // 4 + 1, 2), np.int64)
    count = trace(parts, np.zeros(parts.shape, np.bool_), corners, ends, _STEP, _LEFT, _RIGHT)
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
