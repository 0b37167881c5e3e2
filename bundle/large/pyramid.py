"""The smaller levels of a result: of a probability the mean of 2 x 2 px, of cells one of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bundle.large.cells.grid import Grid
from bundle.large.markers import Markers
from bundle.large.result_store import spans_to_region


def build_pyramid(levels: Sequence[Any], markers: Markers, mean: bool) -> None:
    """Fill the levels from the one before, chunk by chunk, each level that is not done.

    Args:
        levels: arrays, the largest first, which is complete.
        markers: one for each level.
        mean: of 2 x 2 px; otherwise the first of them.
    """
    for number, (above, level) in enumerate(pairwise(levels)):
        if markers.is_done(number):
            continue
        for spans in Grid(level.shape[::-1], level.chunks[::-1]):
            below = [
                (2 * a, min(2 * b, n)) if axis < 2 else (a, b)
                for axis, ((a, b), n) in enumerate(zip(spans, above.shape[::-1], strict=True))
            ]
            level[spans_to_region(spans)] = halved(np.asarray(above[spans_to_region(below)]), mean)
        markers.finish(number)


def halved(stored: np.ndarray, mean: bool) -> np.ndarray:
    """Half as many px along the last two axes, rounded up; whole numbers stay whole."""
    if not mean:
        return stored[..., ::2, ::2]
    rows, columns = stored.shape[-2:]
    widths = [(0, 0)] * (stored.ndim - 2) + [(0, rows % 2), (0, columns % 2)]
    even = np.pad(stored.astype(np.promote_types(stored.dtype, np.float32)), widths, mode="edge")
    parts = even.reshape(*even.shape[:-2], even.shape[-2] // 2, 2, even.shape[-1] // 2, 2)
    means = parts.mean(axis=(-3, -1))
    return np.asarray((np.rint(means) if stored.dtype.kind in "iu" else means).astype(stored.dtype))
