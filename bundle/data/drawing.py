"""What all generated images are drawn with."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def largest_parts(labels: np.ndarray, least: int) -> np.ndarray:
    """The largest connected part of every cell, without those of fewer px than ``least``, numbered 1..N."""
    kept = np.zeros_like(labels)
    number = 0
    for cell, window in enumerate(ndimage.find_objects(labels), 1):
        if window is None:
            continue
        parts, _ = ndimage.label(labels[window] == cell)
        areas = np.bincount(parts.ravel())[1:]
        if areas.max() >= least:
            number += 1
            kept[window][parts == 1 + areas.argmax()] = number
    return kept


def smooth_noise(random: np.random.RandomState, shape: tuple[int, ...], sigma: float | np.ndarray) -> np.ndarray:
    """Gaussian noise of unit standard deviation, smooth over ``sigma`` px (along each axis)."""
    noise = ndimage.gaussian_filter(random.standard_normal(shape), sigma, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())
