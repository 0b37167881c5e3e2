"""Pixels to rings along their edges, and rings to the pixels inside, compiled.

Imported by who calls it: numba takes half a second, and few have regions.
"""

from __future__ import annotations

import numpy as np

from transforms.compiling import compiled


@compiled()
def trace(
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


@compiled()
def toggle(ring: np.ndarray, inside: np.ndarray) -> int:
    """Change all pixels whose centres are in a ring an odd number of times; how many are there an even number."""
    high, wide = inside.shape
    count = len(ring)
    crossings = np.empty(count, np.float64)
    ways = np.empty(count, np.int64)
    doubtful = 0
    for row in range(high):
        centre = row + 0.5
        found = 0
        for i in range(count):
            x0, y0 = ring[i]
            x1, y1 = ring[(i + 1) % count]
            if (y0 <= centre) != (y1 <= centre):
                crossings[found] = x0 + (centre - y0) * (x1 - x0) / (y1 - y0)
                ways[found] = 1 if y1 > y0 else -1
                found += 1
        order = np.argsort(crossings[:found])
        winding = 0
        for i in range(found - 1):
            winding += ways[order[i]]
            # pixels whose centres are behind this crossing, up to the next one; a centre on it is ImageJ's, too
            first = max(0, int(np.floor(crossings[order[i]] - 0.5)) + 1)
            last = min(wide, int(np.floor(crossings[order[i + 1]] - 0.5)) + 1)
            if last <= first:
                continue
            if i % 2 == 0:
                for column in range(first, last):
                    inside[row, column] = not inside[row, column]
            elif winding != 0:
                doubtful += last - first
    return doubtful
