"""The overlay of a whole image at once, as plainly as it can be said."""

from __future__ import annotations

import numpy as np
from skimage.segmentation import find_boundaries

from bundle.output.overlay import cell_colours, stretch


def overlay(image: np.ndarray, cells: np.ndarray, width: int, fill: float = 0.12) -> np.ndarray:
    """Outlines of ``width`` px on the cells' own pixels, their inside tinted by ``fill``."""
    cells = np.maximum(cells, 0).astype(np.int32)
    inside = cells.copy()
    for _ in range(width):
        inside[find_boundaries(inside, mode="inner")] = 0
    opacity = np.where(cells == 0, 0, np.where(inside > 0, fill, 1))[..., None]
    picture = stretch(image) * (1 - opacity) + cell_colours(cells)[cells] / 255 * opacity
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
