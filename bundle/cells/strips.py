"""Images strip by strip, so that what an operation needs beside its result is a strip's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage as ndi

__all__ = ["components", "strips"]

#: elements of a strip, about: some tens of MB for the few arrays of one operation
_STRIP = 2**20


def strips(shape: Sequence[int], halo: int = 0) -> Iterator[tuple[slice, slice]]:
    """Rows (first axis) of every strip, and the same with up to ``halo`` rows before and after them."""
    height = shape[0]
    rows = max(1, _STRIP // max(1, int(np.prod(shape[1:]))), 2 * halo)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        yield slice(start, stop), slice(max(0, start - halo), min(height, stop + halo))


def components(mask: np.ndarray, connectivity: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Windows of rows, each with the components of ``mask`` that begin in one strip, whole.

    Args:
        mask: HW[D], bool.
        connectivity: of the components.

    Yields:
        rows, and which px of these are those components', bool.
    """
    parts, _ = ndi.label(mask, ndi.generate_binary_structure(mask.ndim, connectivity))
    spans = [(box[0].start, box[0].stop) for box in ndi.find_objects(parts)]  # in the order of their first row
    first = 0
    for rows, _ in strips(mask.shape):
        last = first
        while last < len(spans) and spans[last][0] < rows.stop:
            last += 1
        if last > first:
            stop = max(end for _, end in spans[first:last])
            window = slice(spans[first][0], stop)
            yield window, (parts[window] > first) & (parts[window] <= last)
        first = last
