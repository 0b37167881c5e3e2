"""The ridge between touching cells, one pixel and one neighbour at a time."""

from __future__ import annotations

from itertools import product

import numpy as np


def touching_pairs(cells: np.ndarray) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ordered pairs of 8-neighbours (26 in 3D) that belong to two different instances."""
    pairs = []
    for here in np.ndindex(cells.shape):
        for offset in product((-1, 0, 1), repeat=cells.ndim):
            there = tuple(h + o for h, o in zip(here, offset, strict=True))
            if any(t < 0 or t >= n for t, n in zip(there, cells.shape, strict=True)):
                continue
            if cells[here] > 0 and cells[there] > 0 and cells[here] != cells[there]:
                pairs.append((here, there))
    return pairs


def separate(cells: np.ndarray, width: int) -> np.ndarray:
    """A ridge of 1 px (the later-numbered cell gives way) or of 2 px (both do)."""
    out = cells.copy()
    for here, there in touching_pairs(cells):
        if width == 2 or cells[here] > cells[there]:
            out[here] = 0
    return out
