"""Operations on labelled cells, HW[D]: filling holes, splitting touching ones, extending them, closing gaps."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.segmentation import expand_labels, watershed

__all__ = ["close_gaps", "extend", "fill_holes", "split_touching"]


def fill_holes(cells: np.ndarray, count: int, connectivity: int) -> np.ndarray:
    """Give every background component that touches one cell only, and not the edge of the image, to that cell."""
    # where cells hang together over corners the background must not, and the other way round (digital topology)
    dual = cells.ndim if connectivity == 1 else 1
    gaps, number = ndi.label(np.pad(cells, 1) == 0, ndi.generate_binary_structure(cells.ndim, dual))
    padded = np.pad(cells, 1)
    least = np.full(number + 1, count + 1)
    most = np.zeros(number + 1, dtype=least.dtype)
    for axis in range(cells.ndim):
        low = tuple(slice(None, -1) if i == axis else slice(None) for i in range(cells.ndim))
        high = tuple(slice(1, None) if i == axis else slice(None) for i in range(cells.ndim))
        for gap, cell in ((gaps[low], padded[high]), (gaps[high], padded[low])):
            at_border = (gap > 0) & (cell > 0)
            np.minimum.at(least, gap[at_border], cell[at_border])
            np.maximum.at(most, gap[at_border], cell[at_border])
    owner = np.where(least == most, most, 0)
    owner[[0, gaps.flat[0]]] = 0  # the cells themselves, and the outside, which the padding made one component
    inner = (slice(1, -1),) * cells.ndim
    return np.asarray(cells + owner[gaps[inner]].astype(cells.dtype))


def split_touching(
    cells: np.ndarray, probability: np.ndarray, split_by: str, distance: float, connectivity: int
) -> np.ndarray:
    """Watershed of every component, as ``connectivity`` has them, from seeds at least ``distance`` px apart."""
    foreground = cells > 0
    # without any background there is no distance to it: then the edge of the image counts as background
    edge = int(foreground.all())
    relief = ndi.distance_transform_edt(np.pad(foreground, edge))[(slice(edge, -edge or None),) * cells.ndim]
    if split_by == "probability":
        smooth = ndi.gaussian_filter(np.where(foreground, probability, 0).astype(float), distance / 2)
        # a sure network saturates: inside such a plateau, to 1 % equal, the distance decides
        relief = np.round(smooth, 2) + 0.01 * relief / max(relief.max(), 1)
    peaks = peak_local_max(relief, min_distance=int(distance), labels=cells, exclude_border=False, threshold_abs=-1)
    # a level ridge, as along a rod, has several peaks but is one seed; never across two components
    top = (relief >= ndi.maximum_filter(relief, size=3)) & foreground
    ridges, _ = ndi.label(top, ndi.generate_binary_structure(cells.ndim, cells.ndim))
    ridges = np.where(top, ridges.astype(np.int64) * (int(cells.max()) + 1) + cells, 0)
    lone = peaks[ridges[tuple(peaks.T)] == 0]  # the highest of its component, beside a higher one of another
    ridges[tuple(lone.T)] = ridges.max() + 1 + np.arange(len(lone))
    numbers = np.unique(ridges[tuple(peaks.T)])
    markers = np.where(np.isin(ridges, numbers), np.searchsorted(numbers, ridges) + 1, 0)
    # with fewer neighbours than the components have, what hangs on by a corner would get lost
    return np.asarray(watershed(-relief, markers, mask=foreground, connectivity=connectivity))


def extend(cells: np.ndarray, probability: np.ndarray, low: float, connectivity: int) -> np.ndarray:
    """Flood down the probability from every cell to where it is no longer above ``low``."""
    mask = (probability > low) | (cells > 0)
    return np.asarray(watershed(-probability, cells, mask=mask, connectivity=connectivity))


def close_gaps(cells: np.ndarray, distance: float) -> np.ndarray:
    """Extend cells by up to ``distance`` px into the gaps between two of them, but not into open background."""
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
