"""Images strip by strip, so that what an operation needs beside its result is a strip's; and px beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

#: elements of a strip, about: some tens of MB for the few arrays of one operation
_STRIP = 2**20


def strips(shape: Sequence[int], halo: int = 0) -> Iterator[tuple[slice, slice]]:
    """Rows (first axis) of every strip, and the same with up to ``halo`` rows before and after them."""
    height = shape[0]
    rows = max(1, _STRIP // max(1, int(np.prod(shape[1:]))), 2 * halo)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        yield slice(start, stop), slice(max(0, start - halo), min(height, stop + halo))


def beside(shape: Sequence[int], step: Sequence[int]) -> list[tuple[slice, ...]]:
    """Of an image, the px that have another one a ``step`` further, and these others."""
    along = list(zip(step, shape, strict=True))
    return [tuple(slice(max(0, d * way), n - max(0, -d * way)) for d, n in along) for way in (-1, 1)]


def counts(numbers: np.ndarray, highest: int) -> np.ndarray:
    """px of each number 0 .. ``highest`` in an image of them, int64."""
    found = np.zeros(highest + 1, np.int64)
    for rows, _ in strips(numbers.shape):
        found += np.bincount(numbers[rows].ravel(), minlength=highest + 1)
    return found


def first_pixels(numbers: np.ndarray, highest: int) -> np.ndarray:
    """The first px of each number 0 .. ``highest`` in row-major order, int64; -1 of those without any."""
    found = np.full(highest + 1, -1, np.int64)
    across = numbers[0].size
    for rows, _ in reversed(list(strips(numbers.shape))):
        # of several values for one number the last one stays: that of the first px
        found[numbers[rows].ravel()[::-1]] = np.arange(rows.stop * across - 1, rows.start * across - 1, -1)
    return found
