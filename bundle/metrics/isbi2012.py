"""Pixel error of the ISBI 2012 challenge (segmentation of neuronal structures in EM stacks).

As Fiji's Trainable Segmentation computes it, with which the challenge was scored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["THRESHOLDS", "f_scores", "pixel_counts", "pixel_error"]


def _thresholds(count: int) -> NDArray[np.float64]:
    # the original adds 0.1 again and again in double precision; ties at 8-bit grey values fall accordingly
    return np.cumsum([0.0] + [0.1] * (count - 1))


#: 0.0, 0.1, ... 0.9: a pixel is taken for a cell where its probability is strictly above
THRESHOLDS = _thresholds(10)


def pixel_counts(truth: ArrayLike, proposal: ArrayLike) -> NDArray[np.int64]:
    """True positives, proposed and true cell pixels at each of :data:`THRESHOLDS`.

    Args:
        truth: any shape, true where there is cell.
        proposal: the same shape, probability of cell in 0..1.

    Returns:
        (10, 3) counts; those of several images add up.

    Raises:
        ValueError: for shapes that differ, NaN, or values outside 0..1.
    """
    cells = np.asarray(truth).astype(bool)
    proposal = np.asarray(proposal, dtype=np.float32)
    if cells.shape != proposal.shape:
        raise ValueError(f"proposal has shape {proposal.shape}, truth {cells.shape}: they must be equal")
    if proposal.size and not (proposal.min() >= 0 and proposal.max() <= 1):  # NaN fails both
        raise ValueError(f"proposal must lie in 0..1, got {proposal.min()} to {proposal.max()}")
    # one histogram a class replaces ten passes: bin k holds the pixels above k of the thresholds
    bins = np.searchsorted(THRESHOLDS, proposal.astype(np.float64), side="left")
    count = len(THRESHOLDS) + 1
    proposed = np.bincount(bins.ravel(), minlength=count)
    found = np.bincount(bins[cells], minlength=count)
    above = [np.cumsum(histogram[::-1])[::-1][1:] for histogram in (found, proposed)]
    return np.stack([*above, np.full(len(THRESHOLDS), cells.sum())], axis=1).astype(np.int64)


def f_scores(counts: ArrayLike) -> NDArray[np.float64]:
    """F-score 2 PR / (P + R) of the cell pixels at every threshold; 0 where nothing is found."""
    found, proposed, true = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    return np.divide(2 * found, proposed + true, out=np.zeros_like(found), where=found > 0)


def pixel_error(truth: ArrayLike, proposal: ArrayLike) -> float:
    """1 - the maximal F-score of the cell pixels over :data:`THRESHOLDS`, pooled over all slices.

    Args:
        truth: (slices, H, W), true where there is cell.
        proposal: (slices, H, W), probability of cell in 0..1.

    Raises:
        ValueError: as :func:`pixel_counts`.

    Example:
        >>> pixel_error([[1, 1, 0, 0]], [[0.9, 0.8, 0.1, 0.3]])
        0.0
    """
    return float(1 - f_scores(pixel_counts(truth, proposal)).max())
