"""How large cells are, and where."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

__all__ = ["CellSize", "cell_sizes"]


class CellSize(NamedTuple):
    """One cell: its number, voxels, volume in µm^3 (None without spacing), and its centre in voxels from 0."""

    cell: int
    voxels: int
    volume_um3: float | None
    centre: tuple[float, ...]


def cell_sizes(cells: np.ndarray, spacing: Sequence[float] | None = None) -> list[CellSize]:
    """Sizes of labelled cells.

    Args:
        cells: HW[D] integers, 0 background, 1..N cells.
        spacing: between voxels along each axis, µm.

    Returns:
        of every number that there is, in order.

    Examples:
        >>> cell_sizes(np.array([[[0, 1], [1, 2]]]), (0.5, 0.5, 2))[0]
        CellSize(cell=1, voxels=2, volume_um3=1.0, centre=(0.0, 0.5, 0.5))
    """
    flat = np.ascontiguousarray(cells).ravel()
    voxels = np.bincount(flat)
    centres = []
    for axis, n in enumerate(cells.shape):
        along = np.arange(n).reshape([-1 if i == axis else 1 for i in range(cells.ndim)])
        total = np.bincount(flat, weights=np.broadcast_to(along, cells.shape).ravel())
        centres.append(total / np.maximum(voxels, 1))
    one = None if spacing is None else prod(spacing)
    return [
        CellSize(
            int(cell),
            int(voxels[cell]),
            None if one is None else float(voxels[cell] * one),
            tuple(float(along[cell]) for along in centres),
        )
        for cell in np.flatnonzero(voxels)
        if cell > 0
    ]
