"""How the edges of a label lie on those of its image: as they are, moved a little, turned or mirrored.

A label fits when the gray values change along its outlines. What is compared is the gradient of the image along the
outlines with that everywhere, in standard deviations: about 0 for an outline that lies anywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import fft, ndimage
from skimage.segmentation import find_boundaries

from bundle.data.same_image import oriented
from transforms.labels.instances import IGNORE

#: px (of the image as it is compared) that an outline is moved along both axes
REACH = 16
#: the longer side is made at most so long before, by a whole number
_LARGEST = 640
#: px of outline that a quarter of an image must have to count
_FEW = 60


class Edges(NamedTuple):
    """One image.

    Attributes:
        moved: (quarters, 2 ``REACH`` + 1, 2 ``REACH`` + 1), the gradient along the outlines of each quarter of the
            image that has some, moved by -``REACH`` .. ``REACH`` along x and y.
        turned: (8,), the gradient along all outlines in the orientations of :func:`oriented`; NaN where the image is
            not square and turning changes its size.
        scale: px of the image for one of ``moved``.
    """

    moved: np.ndarray
    turned: np.ndarray
    scale: int


def edges_of(gray: np.ndarray, label: np.ndarray) -> Edges | None:
    """Compare an image and its instance map, both (x, y); None for one gray value, or hardly any outline."""
    scale = -(-max(gray.shape) // _LARGEST)
    high, wide = (side // scale for side in gray.shape)
    if min(high, wide) < 2 * REACH:
        return None
    small = gray[: high * scale, : wide * scale].reshape(high, scale, wide, scale).mean(axis=(1, 3), dtype=np.float32)
    cells = label[scale // 2 :: scale, scale // 2 :: scale][:high, :wide]
    outline = find_boundaries(cells, mode="thick") & (cells != IGNORE)
    outline &= ~ndimage.binary_dilation(cells == IGNORE, iterations=2)
    slope = ndimage.gaussian_gradient_magnitude(small, 1.5, mode="nearest")
    slope = np.minimum(slope, np.percentile(slope, 99))
    if outline.sum() < _FEW or not slope.std():
        return None
    slope = ((slope - slope.mean()) / slope.std()).astype(np.float32)
    turned = [float(slope[each].mean()) if each.shape == slope.shape else float("nan") for each in oriented(outline)]
    return Edges(_moved(slope, outline), np.array(turned), scale)


def _moved(slope: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Cross-correlations with the outlines of each quarter, by Fourier transforms."""
    size = [fft.next_fast_len(side + REACH, real=True) for side in slope.shape]
    spectrum = fft.rfft2(slope, size)
    x, y = (side // 2 for side in slope.shape)
    maps = []
    for rows in (slice(None, x), slice(x, None)):
        for columns in (slice(None, y), slice(y, None)):
            quarter = np.zeros(slope.shape, np.float32)
            quarter[rows, columns] = outline[rows, columns]
            if quarter.sum() < _FEW:
                continue
            total = fft.irfft2(spectrum * fft.rfft2(quarter, size).conj(), size)
            near = np.arange(-REACH, REACH + 1)
            maps.append(total[np.ix_(near, near)] / quarter.sum())
    return np.array(maps, np.float32).reshape(-1, 2 * REACH + 1, 2 * REACH + 1)
