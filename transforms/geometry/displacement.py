"""Dense displacement fields: built from coefficients and basis functions, checked for folds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch


def separable_field(coefficients: np.ndarray, bases: Sequence[np.ndarray]) -> np.ndarray:
    """Dense field from coefficients on a coarser (or wider) grid: two or three small matrix products.

    Args:
        coefficients: (C, g1, ..., gd).
        bases: for every axis an (n_i, g_i) matrix of basis functions at the n_i pixels.

    Returns:
        (C, n1, ..., nd) float32.
    """
    # torch's product, not numpy's: after each of its own, numpy's BLAS keeps its threads spinning for some 20 ms,
    # which on two cores doubled the time of the training step that follows
    field = torch.from_numpy(coefficients.astype(np.float32))
    for basis in bases:  # each product drops the front axis and appends the dense one, so the order returns
        field = torch.tensordot(field, torch.from_numpy(basis), dims=([1], [1]))
    return field.numpy()


def smallest_jacobian(displacement: np.ndarray) -> float:
    """Smallest Jacobian determinant of the map o -> o + displacement(o); at or below 0 the map folds.

    Taken from the differences along the edges at all 2^d corners of every cell of the pixel grid. In 2D that is
    exact for the bilinear map between pixels, whose determinant is linear along either axis.

    Args:
        displacement: (d, H, W[, D]) float32 in px.

    Returns:
        The smallest determinant, 1 without deformation. Axes of a single pixel cannot fold and do not count.
    """
    if displacement.ndim == 3 and min(displacement.shape[1:]) > 1:
        from transforms.geometry.warp_compiled import smallest_determinant

        return float(smallest_determinant(np.ascontiguousarray(displacement, dtype=np.float32)))
    axes = [axis for axis, n in enumerate(displacement.shape[1:]) if n > 1]
    size = tuple(displacement.shape[1 + axis] for axis in axes)
    if not axes:
        return 1.0
    u = displacement[axes].reshape(len(axes), *size)
    edges = [np.diff(u, axis=axis + 1) for axis in range(len(axes))]
    for axis, edge in enumerate(edges):
        edge[axis] += 1
    smallest = np.inf
    for corner in product((0, 1), repeat=len(axes)):
        columns = []
        for axis, edge in enumerate(edges):
            at = [slice(c, n - 1 + c) for c, n in zip(corner, size, strict=True)]
            at[axis] = slice(None)
            columns.append(edge[:, *at])
        smallest = min(smallest, float(_determinant(columns).min()))
    return smallest


def _determinant(columns: list[np.ndarray]) -> Any:
    """Determinants, an array (...), of d x d matrices given as d arrays (d, ...), d up to 3."""
    if len(columns) == 1:
        return columns[0][0]
    if len(columns) == 2:
        a, b = columns
        return a[0] * b[1] - a[1] * b[0]
    a, b, c = columns
    return a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
