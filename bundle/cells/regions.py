"""Operations on labelled cells, HW[D]: filling holes, splitting touching ones, extending them, closing gaps.

Labels are int32 throughout. Temporary arrays are at most another image of labels and a mask at a time; all others are
as large as a strip of the image, or as the component of touching cells that is being split or extended.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.segmentation import expand_labels, watershed

from bundle.cells.strips import beside, counts, first_pixels, strips
from bundle.geometry import relative_spacing


def dual_connectivity(connectivity: int, axes: int) -> int:
    """Of the background: where cells hang together over corners it must not, and the other way round."""
    return axes if connectivity == 1 else 1


def fill_holes(cells: np.ndarray, count: int, connectivity: int) -> None:
    """Give every background component that touches one cell only, and not the edge of the image, to that cell."""
    dual = dual_connectivity(connectivity, cells.ndim)
    gaps, number = ndi.label(cells == 0, ndi.generate_binary_structure(cells.ndim, dual))
    least = np.full(number + 1, count + 1, dtype=np.int32)
    most = np.zeros(number + 1, dtype=np.int32)
    for rows, around in strips(cells.shape, halo=1):
        window = slice(rows.start, around.stop)  # and the first row of the next strip
        part, owners = gaps[window], cells[window]
        for step in np.eye(cells.ndim, dtype=int).tolist():
            low, high = beside(part.shape, step)
            for gap, cell in ((part[low], owners[high]), (part[high], owners[low])):
                at_border = (gap > 0) & (cell > 0)
                np.minimum.at(least, gap[at_border], cell[at_border])
                np.maximum.at(most, gap[at_border], cell[at_border])
    owner = np.where(least == most, most, 0)
    for axis in range(cells.ndim):
        for edge in (0, -1):
            owner[np.unique(gaps.take(edge, axis=axis))] = 0  # the outside
    owner[0] = 0  # the cells themselves
    for rows, _ in strips(cells.shape):
        cells[rows] += owner[gaps[rows]]


def drop_small(cells: np.ndarray, count: int, min_size: int) -> None:
    """Make cells of fewer px background."""
    small = counts(cells, count) < min_size
    for rows, _ in strips(cells.shape):
        cells[rows][small[cells[rows]]] = 0


def in_order(cells: np.ndarray, count: int) -> None:
    """Labels 1 .. N in the order of their first pixel."""
    first = first_pixels(cells, count)
    first[0] = -1
    there = np.flatnonzero(first >= 0)
    table = np.zeros(count + 1, dtype=np.int32)
    table[there[np.argsort(first[there])]] = np.arange(1, len(there) + 1)
    for rows, _ in strips(cells.shape):
        cells[rows] = table[cells[rows]]


def split_touching(
    cells: np.ndarray,
    count: int,
    probability: np.ndarray,
    split_by: str,
    distance: float,
    connectivity: int,
    spacing: Sequence[float] | None = None,
) -> int:
    """Split every cell by a watershed from seeds at least ``distance`` px apart, in place; how many there are now.

    Each is split alone, in its own box: the result depends on nothing else in the image. ``distance`` is in px of the
    axis of the smallest ``spacing``.
    """
    units = np.array([1.0] * cells.ndim if spacing is None else relative_spacing(spacing))
    for label, box in enumerate(ndi.find_objects(cells, count), start=1):
        if max(unit * (side.stop - side.start) for unit, side in zip(units, box, strict=True)) <= distance:
            continue  # no room for two seeds
        inside = cells[box] == label
        relief = _distance(inside, box, cells.shape, units)
        if split_by == "probability":
            smooth = ndi.gaussian_filter(np.where(inside, probability[box], 0).astype(float), distance / 2 / units)
            # a sure network saturates: inside such a plateau, to 1 % equal, the distance decides
            relief = np.round(smooth, 2) + 0.01 * relief / relief.max()
        seeds = _seeds(relief, inside, distance, units)
        number = int(seeds.max())
        if number > 1:
            # with fewer neighbours than the cell has, what hangs on by a corner would get lost
            parts = watershed(-relief, seeds, mask=inside, connectivity=connectivity)
            cells[box][parts > 1] = count + parts[parts > 1] - 1
            count += number - 1
    return count


def _distance(inside: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...], units: np.ndarray) -> np.ndarray:
    """Distance to what is outside the cell, px; what may be beyond the image counts only for a cell that fills it."""
    beyond = [(int(side.start > 0), int(side.stop < n)) for side, n in zip(box, shape, strict=True)]
    if inside.all() and not any(map(any, beyond)):
        beyond = [(1, 1)] * inside.ndim
    distances = ndi.distance_transform_edt(np.pad(inside, beyond), sampling=units)
    return np.asarray(distances[tuple(slice(a, a + n) for (a, _), n in zip(beyond, inside.shape, strict=True))])


def _seeds(relief: np.ndarray, inside: np.ndarray, distance: float, units: np.ndarray) -> np.ndarray:
    """Seeds 1 .. N of one cell, 0 elsewhere."""
    if (units == 1).all():
        peaks = peak_local_max(
            relief, min_distance=int(distance), labels=inside.astype(int), exclude_border=False, threshold_abs=-1
        )
    else:
        peaks = _peaks(np.where(inside, relief, -np.inf), distance, units)
    # a level ridge, as along a rod, has several peaks but is one seed
    top = (relief >= ndi.maximum_filter(np.where(inside, relief, -np.inf), size=3)) & inside
    ridges, _ = ndi.label(top, ndi.generate_binary_structure(inside.ndim, inside.ndim))
    numbers = np.unique(ridges[tuple(peaks.T)])
    return np.where(np.isin(ridges, numbers), np.searchsorted(numbers, ridges) + 1, 0).astype(np.int32)


def _peaks(relief: np.ndarray, distance: float, units: np.ndarray) -> np.ndarray:
    """Places (N, axes) of local maxima at least ``distance`` apart along some axis, as skimage's where units are 1."""
    size = [2 * max(1, int(distance / unit)) + 1 for unit in units]  # of neighbours at least, however far apart
    peaks = np.argwhere((relief == ndi.maximum_filter(relief, size=size, mode="nearest")) & (relief > -np.inf))
    peaks = peaks[np.argsort(-relief[tuple(peaks.T)], kind="stable")]
    kept = peaks[:1]
    for peak in peaks[1:]:
        if (np.abs((kept - peak) * units).max(axis=1) >= distance).all():
            kept = np.concatenate([kept, peak[None]])
    return np.asarray(kept)


def extend(cells: np.ndarray, count: int, probability: np.ndarray, low: float, connectivity: int) -> None:
    """Flood down the probability from every cell to where it is no longer above ``low``, each component alone."""
    mask = probability > low
    for rows, _ in strips(cells.shape):
        mask[rows] |= cells[rows] > 0
    parts, number = ndi.label(mask, ndi.generate_binary_structure(mask.ndim, connectivity))
    least, most = np.full(number + 1, count + 1, dtype=np.int32), np.zeros(number + 1, dtype=np.int32)
    for rows, _ in strips(cells.shape):
        there = cells[rows] > 0
        np.minimum.at(least, parts[rows][there], cells[rows][there])
        np.maximum.at(most, parts[rows][there], cells[rows][there])
    owner = np.where(least == most, most, 0)
    for rows, _ in strips(cells.shape):
        np.maximum(cells[rows], owner[parts[rows]], out=cells[rows])
    boxes = ndi.find_objects(parts)
    for part in np.flatnonzero(least < most):
        box = boxes[part - 1]
        inside = parts[box] == part
        flooded = watershed(-probability[box], np.where(inside, cells[box], 0), mask=inside, connectivity=connectivity)
        cells[box][inside] = flooded[inside]


def close_gaps(cells: np.ndarray, distance: float) -> np.ndarray:
    """Extend cells by up to ``distance`` px into the gaps between two of them, but not into open background."""
    closed = np.empty_like(cells)
    # the closing and the search for two cells reach twice the distance
    for rows, around in strips(cells.shape, halo=2 * int(np.ceil(distance)) + 1):
        start = rows.start - around.start
        closed[rows] = _close_gaps(cells[around], distance)[start : start + rows.stop - rows.start]
    return closed


def _close_gaps(cells: np.ndarray, distance: float) -> np.ndarray:
    near = _ball(distance, cells.ndim)
    swollen = ndi.binary_dilation(cells > 0, near)
    # a closing fills narrow gaps wholly and wide ones not at all; beyond the image there may be more cells
    closed = ndi.binary_erosion(swollen, near, border_value=1)
    # and only where two cells are, or it would fill the notches of a single one
    far = _ball(2 * distance, cells.ndim)
    none = np.iinfo(cells.dtype).max
    most = ndi.maximum_filter(cells, footprint=far, mode="constant", cval=0)
    least = ndi.minimum_filter(np.where(cells == 0, none, cells), footprint=far, mode="constant", cval=none)
    return np.where(closed & (least != most), expand_labels(cells, distance=distance), cells)


def _ball(radius: float, ndim: int) -> np.ndarray:
    offsets = np.ogrid[(slice(-int(radius), int(radius) + 1),) * ndim]
    return sum((offset**2 for offset in offsets), np.zeros(())) <= radius**2
