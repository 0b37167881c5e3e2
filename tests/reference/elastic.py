"""Deformation one pixel at a time: spline fields, mirrored reading, Jacobian determinants."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.interpolate import CubicSpline


def mirror(position: float, n: int) -> float:
    """Reflect a position at the first and last pixel until it is inside."""
    while n > 1 and not 0 <= position <= n - 1:
        position = -position if position < 0 else 2 * (n - 1) - position
    return position if n > 1 else 0.0


def read_linear(image: np.ndarray, position: np.ndarray) -> float:
    """Linear interpolation of HW[D] ``image`` at one position."""
    inside = [mirror(p, n) for p, n in zip(position, image.shape, strict=True)]
    low = [min(int(np.floor(p)), max(n - 2, 0)) for p, n in zip(inside, image.shape, strict=True)]
    total = 0.0
    for corner in product((0, 1), repeat=image.ndim):
        weight = 1.0
        for p, at, c in zip(inside, low, corner, strict=True):
            weight *= (p - at) if c else 1 - (p - at)
        if weight > 0:
            total += weight * image[tuple(at + c for at, c in zip(low, corner, strict=True))]
    return total


def read_nearest(image: np.ndarray, position: np.ndarray) -> float:
    """The pixel nearest to one position."""
    return float(image[tuple(int(mirror(np.rint(p), n)) for p, n in zip(position, image.shape, strict=True))])


def cubic_field(vectors: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Natural cubic splines through the vectors (d, g1, ..., gd), along one axis after the other."""
    field = vectors
    for axis, n in enumerate(size):
        g = field.shape[axis + 1]
        spline = CubicSpline(np.arange(g), field, axis=axis + 1, bc_type="natural")
        field = spline(np.linspace(0, g - 1, n))
    return field


def bspline_field(vectors: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Uniform cubic B-spline of the control vectors (d, g1 + 2, ..., gd + 2), its four polynomials written out."""
    field = vectors
    for axis, n in enumerate(size):
        field = np.moveaxis(field, axis + 1, 0)
        g = field.shape[0] - 2
        lines = []
        for x in np.linspace(0, g - 1, n):
            left = min(int(x), g - 2)
            t = x - left
            p0, p1, p2, p3 = field[left : left + 4]
            lines.append(
                (
                    (1 - t) ** 3 * p0
                    + (3 * t**3 - 6 * t**2 + 4) * p1
                    + (-3 * t**3 + 3 * t**2 + 3 * t + 1) * p2
                    + t**3 * p3
                )
                / 6
            )
        field = np.moveaxis(np.stack(lines), 0, axis + 1)
    return field


def smallest_jacobian(displacement: np.ndarray) -> float:
    """Smallest determinant at the corners of all cells of the pixel grid, of the map o -> o + displacement."""
    dims, *size = displacement.shape
    smallest = np.inf
    for cell in np.ndindex(*(n - 1 for n in size)):
        for corner in product((0, 1), repeat=dims):
            jacobian = np.eye(dims)
            for axis in range(dims):
                at = [c + o for c, o in zip(cell, corner, strict=True)]
                at[axis] = cell[axis]
                ahead = [a + (i == axis) for i, a in enumerate(at)]
                jacobian[:, axis] += displacement[(slice(None), *ahead)] - displacement[(slice(None), *at)]
            smallest = min(smallest, np.linalg.det(jacobian))
    return float(smallest)
