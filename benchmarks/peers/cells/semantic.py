"""Cells by a network of two classes, as programs without instances are usually made to find them.

Each cell loses a px along its outline before the training, so that touching ones come apart, and what is connected
afterwards is a cell, grown back by that px.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

from benchmarks.peers.cells.files import UNANNOTATED, Images
from benchmarks.peers.data import write_png

#: the class of pixels that are not annotated, beside 0 background and 1 cell
UNKNOWN = 2


def cut_apart(label: NDArray[np.integer]) -> NDArray[np.uint8]:
    """(H, W), 1 where there is a cell and nothing else within a px, UNKNOWN where nothing is annotated, else 0."""
    largest, smallest = ndimage.maximum_filter(label, 3), ndimage.minimum_filter(label, 3)
    cells = ((label > 0) & (largest == smallest)).astype(np.uint8)
    return np.where(label == UNANNOTATED, np.uint8(UNKNOWN), cells)


def cells_of(probability: NDArray[np.floating]) -> NDArray[np.uint16]:
    """(H, W), numbers of the cells where the probability is above 0.5."""
    numbers, _ = ndimage.label(probability > 0.5)
    return expand_labels(numbers, 1).astype(np.uint16)


def write_pairs(images: Images, image_dir: Path, label_dir: Path | None, suffix: str = "") -> list[str]:
    """PNG of 8 bit; images of more bits are stretched over their own range. Returns the names."""
    for name, (image, label) in images.items():
        gray = image.astype(np.float64)
        if image.dtype != np.uint8:
            gray = (gray - gray.min()) / max(float(np.ptp(gray)), 1e-9) * 255
        write_png(gray.round().astype(np.uint8), image_dir / f"{name}{suffix}.png")
        if label_dir is not None:
            write_png(cut_apart(label), label_dir / f"{name}.png")
    return list(images)
