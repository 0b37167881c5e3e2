"""Which pixels regions hold, one pixel after the other, by a ray from its centre to the left."""

from __future__ import annotations

import numpy as np

from bundle.data.regions import Region


def crossed(ring: np.ndarray, x: float, y: float) -> int:
    """How many sides of a ring a ray from (x, y) to the left crosses."""
    count = 0
    for (x0, y0), (x1, y1) in zip(ring.tolist(), [*ring.tolist()[1:], ring.tolist()[0]], strict=True):
        if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) < x:
            count += 1
    return count


def drawn(regions: list[Region], size: tuple[int, ...]) -> np.ndarray:
    """The label map (slices, rows, columns) or (rows, columns) of regions that have their numbers."""
    labels = np.zeros(size, int)
    for region in regions:
        for index in np.ndindex(size):
            if len(size) == 3 and region.slice != index[0]:
                continue
            y, x = index[-2] + 0.5, index[-1] + 0.5
            if any(sum(crossed(ring, x, y) for ring in polygon) % 2 for polygon in region.polygons):
                labels[index] = region.cell
    return labels
