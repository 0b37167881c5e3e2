"""Rand and information theoretic scores of the ISBI 2012 challenge, foreground-restricted.

Both compare two ways to divide the pixels of the true cells: by true cell and by proposed cell, each a 4-connected
component. A true cell's pixel where membrane is proposed is a cell of its own. With n_ij the pixels that true cell i
shares with proposed cell j, sums over all cells::

    Rand    F = 2 sum n_ij^2 / (sum n_i^2 + sum n_j^2)
    V_info  F = 2 I / (H(true) + H(proposed))

I being the mutual information, H an entropy. V_rand (the Rand F) and V_info are taken after
:func:`bundle.metrics.thinning.thinned` of the proposal, so that the width of the membranes does not matter; the
Rand error of 2012, 1 - F, without.

Sources: Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142; Rand 1971; Fiji's Trainable Segmentation,
whose values these are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from bundle.metrics.components import Overlap, components, overlap
from bundle.metrics.thinning import thinned

Array = NDArray[np.float64]


def rand_counts(
    truth: NDArray[np.bool_], proposal: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Ordered pairs of pixels of the true cells that are in one cell, at each threshold.

    Args:
        truth: (H, W), true where there is cell.
        proposal: (H, W), probability of cell in 0..1.
        thresholds: (T,); a pixel is proposed as cell where its probability is strictly above.

    Returns:
        (T, 3) pairs in one cell of both, of the proposal, of the truth; a pixel makes a pair with itself. Those of
        several slices add up: the challenge pools them.
    """
    true = components(truth)
    return _at_thresholds(proposal, thresholds, lambda cells: _pairs(overlap(true, components(cells))))


def rand_curve(counts: np.ndarray) -> Array:
    """F at each threshold, (T,), from (T, 3) counts; NaN without any true cell. The Rand error is 1 - F."""
    both, proposed, true = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    return _ratio(2 * both, proposed + true)


def thinned_counts(truth: NDArray[np.bool_], proposal: NDArray[np.float32], thresholds: NDArray[np.float64]) -> Array:
    """V_rand and V_info of one slice at each threshold, in a form that adds up to means over slices.

    A proposal without any cell at a threshold is taken for one cell, as one without any membrane is.

    Args:
        truth: (H, W), true where there is cell. Not thinned.
        proposal: (H, W), probability of cell in 0..1.
        thresholds: (T,); a pixel is proposed as cell where its probability is strictly above.

    Returns:
        (T, 3): 1, F of V_rand, F of V_info. All 0 without any true cell: such a slice has no score and takes no part
        in the mean (Fiji's mean is then not a number).
    """
    if not truth.any():
        return np.zeros((len(thresholds), 3))
    true = components(truth.T)  # the flood reads columns
    return _at_thresholds(
        np.ascontiguousarray(proposal.T), thresholds, lambda cells: _scores(overlap(true, thinned(cells)))
    )


def v_rand_curve(counts: np.ndarray) -> Array:
    """V_rand at each threshold, (T,), the mean over slices, from the sum of their :func:`thinned_counts`."""
    return _means(counts)[:, 0]


def v_info_curve(counts: np.ndarray) -> Array:
    """V_info at each threshold, (T,), the mean over slices, from the sum of their :func:`thinned_counts`.

    A slice scores 0 where the true cells are one cell, or the proposed ones are, even if they are the same, as Fiji
    has it.
    """
    return _means(counts)[:, 1]


def _at_thresholds(
    proposal: NDArray[np.float32], thresholds: NDArray[np.float64], row: Callable[[NDArray[np.bool_]], Sequence[float]]
) -> np.ndarray:
    # the original compares float32 with float64: the next float32 at or below a threshold divides them alike
    limits = thresholds.astype(np.float32)
    limits = np.where(limits > thresholds, np.nextafter(limits, np.float32(-1)), limits)
    rows: dict[int, Sequence[float]] = {}
    sizes = []
    for limit in limits:
        cells = proposal > limit
        sizes.append(int(np.count_nonzero(cells)))
        if sizes[-1] not in rows:  # a higher threshold leaves a part of it: of equal size it is the same
            rows[sizes[-1]] = row(cells)
    return np.array([rows[size] for size in sizes])


def _pairs(cells: Overlap) -> list[int]:
    both, proposed, true = (int(sizes @ sizes) for sizes in (cells.shared, cells.proposed, cells.truth))
    return [both + cells.unclaimed, proposed + cells.unclaimed, true]


def _scores(cells: Overlap) -> list[float]:
    pixels = int(cells.truth.sum())
    alone = cells.unclaimed / pixels * np.log(pixels)
    both, proposed, true = (float(entr(sizes / pixels).sum()) for sizes in (cells.shared, cells.proposed, cells.truth))
    proposed += alone
    mutual = max(0.0, true + proposed - (both + alone))
    information = 2 * mutual / (true + proposed) if true and proposed else 0.0
    return [1.0, *rand_curve(np.array([_pairs(cells)])), information]


def _means(counts: np.ndarray) -> Array:
    sums = np.asarray(counts, dtype=np.float64)
    return _ratio(sums[:, 1:], sums[:, :1])


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
