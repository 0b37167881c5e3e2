"""The passes over all pixels of ``sampling`` and ``displacement`` in 2D, compiled.

One pass without arrays in between, in loops that the compiler turns into vector instructions: numpy takes ten times
as long, most of it for the memory of what it computes on the way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transforms.compiling import compiled

ONE = np.float32(1)

Floats = NDArray[np.float32]


@compiled(fastmath=True)
def normalised_grid(  # pragma: no cover - compiled
    displacement: Floats, matrix: Floats, centre: Floats, image_size: tuple[int, ...]
) -> Floats:
    """(H, W, 2) float32 for torch's grid_sample: last axis first, mirrored into -1..1, the image's edges.

    Args: displacement (2, H, W), matrix (2, 2), centre (2,), all float32; image_size: two numbers of px, above 1.
    """
    _, height, width = displacement.shape
    grid = np.empty((height, width, 2), np.float32)
    middle, across = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    down, right = np.float32(2 / (image_size[0] - 1)), np.float32(2 / (image_size[1] - 1))
    period = np.float32(4)  # of a mirrored axis, in these units
    for i in range(height):
        for j in range(width):
            a, b = np.float32(i) - middle + displacement[0, i, j], np.float32(j) - across + displacement[1, i, j]
            y = (centre[0] + matrix[0, 0] * a + matrix[0, 1] * b) * down
            x = (centre[1] + matrix[1, 0] * a + matrix[1, 1] * b) * right
            y -= period * np.floor(y / period)
            x -= period * np.floor(x / period)
            grid[i, j, 1] = min(y, period - y) - ONE
            grid[i, j, 0] = min(x, period - x) - ONE
    return grid


@compiled(fastmath=True)
def nearest_index(  # pragma: no cover - compiled
    displacement: Floats, matrix: Floats, centre: Floats, image_size: tuple[int, ...]
) -> NDArray[np.int32]:
    """(H, W) int32: position in the flattened image of the pixel nearest to where each one is read, mirrored.

    Args: as of :func:`normalised_grid`; the image has fewer than 2^31 px.
    """
    _, height, width = displacement.shape
    index = np.empty((height, width), np.int32)
    middle, across = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    period, cycle = np.float32(2 * (image_size[0] - 1)), np.float32(2 * (image_size[1] - 1))
    columns = np.int32(image_size[1])
    for i in range(height):
        for j in range(width):
            a, b = np.float32(i) - middle + displacement[0, i, j], np.float32(j) - across + displacement[1, i, j]
            y = np.rint(centre[0] + matrix[0, 0] * a + matrix[0, 1] * b)
            x = np.rint(centre[1] + matrix[1, 0] * a + matrix[1, 1] * b)
            y -= period * np.floor(y / period)
            x -= cycle * np.floor(x / cycle)
            index[i, j] = np.int32(min(y, period - y)) * columns + np.int32(min(x, cycle - x))
    return index


@compiled(fastmath=True)
def _lower_along_row(
    u0: Floats, u1: Floats, v0: Floats, v1: Floats, low: Floats
) -> None:  # pragma: no cover - compiled
    """One minimum a column: a single one would make every pixel wait for the one before, seven times as long."""
    for j in range(low.shape[0]):
        # edges of a cell of the pixel grid: down at its left and right side, across at its top and bottom
        left_u, left_v = ONE + u1[j] - u0[j], v1[j] - v0[j]
        right_u, right_v = ONE + u1[j + 1] - u0[j + 1], v1[j + 1] - v0[j + 1]
        top_u, top_v = u0[j + 1] - u0[j], ONE + v0[j + 1] - v0[j]
        bottom_u, bottom_v = u1[j + 1] - u1[j], ONE + v1[j + 1] - v1[j]
        upper = min(left_u * top_v - left_v * top_u, right_u * top_v - right_v * top_u)
        lower = min(left_u * bottom_v - left_v * bottom_u, right_u * bottom_v - right_v * bottom_u)
        low[j] = min(low[j], min(upper, lower))


@compiled(fastmath=True)
def smallest_determinant(displacement: Floats) -> float:  # pragma: no cover - compiled
    """What ``displacement.smallest_jacobian`` defines, for (2, H, W) float32 with both sides above 1."""
    _, height, width = displacement.shape
    low = np.full(width - 1, np.inf, np.float32)
    for i in range(height - 1):
        _lower_along_row(displacement[0, i], displacement[0, i + 1], displacement[1, i], displacement[1, i + 1], low)
    return low.min()  # type: ignore[no-any-return]
