"""The scores of bundle/inference/uncertainty.py read literally: loops over pixels, passes and components."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from tests.reference.weight_map import two_nearest_distances


def disagreement(probabilities: np.ndarray) -> float:
    """Mean over the pixels of the passes' mean Kullback-Leibler divergence from their mean, PHW: the same as BALD."""
    total = 0.0
    for pixel in np.ndindex(probabilities.shape[1:]):
        passes = [float(p[pixel]) for p in probabilities]
        yes, no = sum(passes) / len(passes), sum(1 - p for p in passes) / len(passes)  # 1 - yes may be rounded to 0
        for p in passes:
            for own, common in ((p, yes), (1 - p, no)):
                total += own * math.log(own / common) / len(passes) if own > 0 else 0.0
    return total / probabilities[0].size


def leaves(p: np.ndarray, inside: np.ndarray, thresholds: list[float], min_size: int) -> list[np.ndarray]:
    """Masks HW of the cells within ``inside``: its parts at the first threshold that leaves several, taken further."""
    for number, threshold in enumerate(thresholds):
        labels, count = ndimage.label(inside & (p > threshold))
        parts = [labels == k for k in range(1, count + 1) if (labels == k).sum() >= max(min_size, 1)]
        if len(parts) > 1:
            return [leaf for part in parts for leaf in leaves(p, part, thresholds[number + 1 :], min_size)]
    return [inside]


def border_doubt(p: np.ndarray, threshold: float, sigma: float, min_size: int) -> float:
    """sum(b u) / (1 + sum(b)) over the background of p, HW."""
    stricter = [threshold + (1 - threshold) * step / 5 for step in range(1, 5)]
    labels, count = ndimage.label(p > threshold)
    found = [labels == k for k in range(1, count + 1) if (labels == k).sum() >= max(min_size, 1)]
    cells = np.zeros(p.shape, int)
    for number, leaf in enumerate([leaf for cell in found for leaf in leaves(p, cell, stricter, min_size)], 1):
        cells[leaf] = number
    d1, d2 = two_nearest_distances(cells)
    numerator, denominator = 0.0, 1.0
    for pixel in zip(*np.nonzero(cells == 0), strict=True):
        border = math.exp(-((d1[pixel] + d2[pixel]) ** 2) / (2 * sigma**2))
        numerator += border * (1 - abs(2 * p[pixel] - 1))
        denominator += border
    return numerator / denominator
