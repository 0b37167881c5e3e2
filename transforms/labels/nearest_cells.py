"""Exact Euclidean distances of every pixel to its nearest and second nearest cell.

A separable distance transform that carries two distinct labels instead of one. Along the first axis the two
cells seen last on either side are the two nearest. Along every other axis the squared distance to a site x' of
the same line is (x - x')^2 + g(x'), so the nearest is the lower envelope of parabolas (Felzenszwalb and
Huttenlocher 2012). The second nearest is the lower envelope over every other cell, built once for each run of
pixels that share their nearest cell, and only as far as the run's neighbours prove necessary. Carrying the two
nearest is enough: a third cell of a line is further away than both of the others, everywhere along the next
axis. Memory is a constant number of maps whatever the number of cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: largest reach in px up to which trying all sites is faster than envelopes
TRIED = 64


def two_nearest_distances(
    instances: np.ndarray,
    spacing: Sequence[float] | None = None,
    region: Sequence[slice] | None = None,
    reach: float = np.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest and the second nearest cell of every pixel.

    Args:
        instances: HW[D] whole numbers; positive ones are cells, everything else is not.
        spacing: between pixels along each axis, as scipy's ``sampling``; None is 1 along all.
        region: the pixels asked for, a slice with start and stop along each axis; None: all. Cells anywhere count.
        reach: where d1 + d2 is larger they may be larger still, or inf, which saves time in 2D.

    Returns:
        d1, d2: float32 each, of the size of ``region``, in the unit of ``spacing`` (px) between pixel centres: 0 inside
        the cell itself, inf where there is no such cell. d2 is measured to a different cell than d1.

    Raises:
        ValueError: for an array that is not 2D or 3D, is empty, or whose diagonal exceeds 46,340; for a spacing that
            is not one positive number an axis.
    """
    # numba takes a fifth of a second to import, which those who only segment need not wait for
    from transforms.labels.nearest_cells_compiled import ABSENT, along_columns, along_rows, near_in_rows

    if instances.ndim not in (2, 3) or instances.size == 0:
        raise ValueError(f"instances must be (H, W) or (H, W, D) and not empty, got shape {instances.shape}")
    apart = [1.0] * instances.ndim if spacing is None else [float(each) for each in spacing]
    if len(apart) != instances.ndim or not min(apart) > 0:
        raise ValueError(f"spacing must be a number above 0 for each of {instances.ndim} axes, got {spacing}")
    if sum((n * each) ** 2 for n, each in zip(instances.shape, apart, strict=True)) >= ABSENT:
        raise ValueError(f"instances of shape {instances.shape} has a diagonal above the allowed 46340 px")

    asked = [slice(0, n) for n in instances.shape] if region is None else list(region)
    cells = np.ascontiguousarray(instances, dtype=np.int32).reshape(len(instances), -1)
    size = (asked[0].stop - asked[0].start, *instances.shape[1:])
    kind = np.int32 if {*apart} == {1.0} else np.float64
    square1, square2 = (np.empty((size[0], cells.shape[1]), kind) for _ in range(2))
    label1, label2 = along_columns(cells, square1, square2, apart[0], asked[0].start)
    if len(size) == 2 and kind is np.int32 and reach <= TRIED:
        columns = asked[1]
        square1, square2 = near_in_rows(label1, square1, label2, square2, columns.start, columns.stop, float(reach))
    else:
        state = [part.reshape(size) for part in (label1, square1, label2, square2)]
        for axis in range(len(size) - 1, 0, -1):
            lines = [np.ascontiguousarray(np.moveaxis(part, axis, -1)) for part in state]
            one, its, other, its2 = (line.reshape(-1, line.shape[-1]) for line in lines)
            along_rows(one, its, other, its2, apart[axis])
            state = [np.moveaxis(line[..., asked[axis]], -1, axis) for line in lines]
        square1, square2 = state[1], state[3]
    d1, d2 = (np.sqrt(part, dtype=np.float32, casting="same_kind", order="C") for part in (square1, square2))
    d1[square1 == ABSENT] = np.inf
    d2[square2 == ABSENT] = np.inf
    return d1, d2
