"""Images strip by strip, so that what an operation needs beside its result is a strip's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

__all__ = ["strips"]

#: elements of a strip, about: some tens of MB for the few arrays of one operation
_STRIP = 2**20


def strips(shape: Sequence[int], halo: int = 0) -> Iterator[tuple[slice, slice]]:
    """Rows (first axis) of every strip, and the same with up to ``halo`` rows before and after them."""
    height = shape[0]
    rows = max(1, _STRIP // max(1, int(np.prod(shape[1:]))), 2 * halo)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        yield slice(start, stop), slice(max(0, start - halo), min(height, stop + halo))
