"""The measures of the ISBI 2012 challenge (segmentation of neuronal structures in EM stacks).

As Fiji's Trainable Segmentation computes them, with which the challenge was scored; ``tests/oracle`` holds values
that its own classes printed. A proposal is thresholded at several levels and its best level counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.rand import rand_counts, rand_curve, thinned_counts, v_info_curve, v_rand_curve
from bundle.metrics.warping import warping_counts, warping_curve


def _thresholds(count: int) -> NDArray[np.float64]:
    # the original adds 0.1 again and again in double precision; ties at 8-bit grey values fall accordingly
    return np.cumsum([0.0] + [0.1] * (count - 1))


#: 0.0, 0.1, ... 0.9: a pixel is taken for a cell where its probability is strictly above
THRESHOLDS = _thresholds(10)
#: 0.0, 0.1, ... 1.0: those of the scores of 2015, v_rand and v_info
THRESHOLDS_2015 = _thresholds(11)

Counts = Callable[[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float64]], np.ndarray]


@dataclass(frozen=True)
class Measure:
    """One measure, in the form that lets slices and processes be added up.

    Attributes:
        thresholds: (T,) at which a proposal is cut.
        counts: of one slice, (H, W) truth and proposal and the thresholds -> (T, K); those of several slices add up.
        curve_of: (T, K) counts -> (T,) the measure at each threshold.
        best: min or max, of the curve.
    """

    thresholds: NDArray[np.float64]
    counts: Counts
    curve_of: Callable[[np.ndarray], NDArray[np.float64]]
    best: Callable[[NDArray[np.float64]], np.float64]

    def __call__(self, truth: ArrayLike, proposal: ArrayLike) -> float:
        """The measure of a stack, at its best threshold; arguments and errors as :meth:`curve`."""
        return float(self.best(self.curve(truth, proposal)))

    def curve(self, truth: ArrayLike, proposal: ArrayLike) -> NDArray[np.float64]:
        """The measure of a stack at every one of ``thresholds``.

        Args:
            truth: (slices, H, W), or one slice (H, W): true, or above 0, where there is cell.
            proposal: of the same shape, the probability of cell in 0..1.

        Raises:
            ValueError: for shapes that differ or are no stack, NaN, values outside 0..1 (names the slice), or a
                truth without any cell.
        """
        counts = self.total(truth, proposal)
        if not (np.asarray(truth) > 0).any():
            raise ValueError("truth has no cell in any slice: nothing can be measured on it")
        return self.curve_of(counts)

    def total(self, truth: ArrayLike, proposal: ArrayLike) -> np.ndarray:
        """(T, K) counts of all slices of a stack; arguments as :meth:`curve`, but there may be no cell."""
        stacks = _checked(truth, proposal)
        counts = [self.counts(*slices, self.thresholds) for slices in zip(*stacks, strict=True)]
        return np.asarray(np.sum(counts, axis=0))

    def value(self, counts: np.ndarray) -> float:
        """The measure that counts, of one slice or summed over many, amount to; NaN where that is undefined."""
        return float(self.best(self.curve_of(np.asarray(counts))))


def pixel_counts(
    truth: NDArray[np.bool_], proposal: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """True positives, proposed and true cell pixels at each threshold.

    Args:
        truth: any shape, true where there is cell.
        proposal: the same shape, probability of cell in 0..1.
        thresholds: (T,) ascending.

    Returns:
        (T, 3) counts.
    """
    # one histogram a class replaces a pass for each threshold: bin k holds the pixels above k of them
    bins = np.searchsorted(thresholds, proposal.astype(np.float64), side="left")
    count = len(thresholds) + 1
    proposed = np.bincount(bins.ravel(), minlength=count)
    found = np.bincount(bins[truth], minlength=count)
    above = [np.cumsum(histogram[::-1])[::-1][1:] for histogram in (found, proposed)]
    return np.stack([*above, np.full(len(thresholds), truth.sum())], axis=1).astype(np.int64)


def f_scores(counts: ArrayLike) -> NDArray[np.float64]:
    """F-score 2 PR / (P + R) of the cell pixels at every threshold, (T,) from (T, 3) counts; NaN without any cell."""
    found, proposed, true = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    return np.asarray(np.divide(2 * found, proposed + true, out=np.full_like(found, np.nan), where=true > 0))


#: by name; errors are 0 at best, scores 1
MEASURES = {
    "pixel_error": Measure(THRESHOLDS, pixel_counts, lambda counts: 1 - f_scores(counts), np.min),
    "rand_error": Measure(THRESHOLDS, rand_counts, lambda counts: 1 - rand_curve(counts), np.min),
    "warping_error": Measure(THRESHOLDS, warping_counts, warping_curve, np.min),
    "v_rand": Measure(THRESHOLDS_2015, thinned_counts, v_rand_curve, np.max),
    "v_info": Measure(THRESHOLDS_2015, thinned_counts, v_info_curve, np.max),
}


def pixel_error(truth: ArrayLike, proposal: ArrayLike) -> float:
    """1 - the best F-score of the cell pixels, pooled over all slices; see :meth:`Measure.curve`.

    Examples:
        >>> pixel_error([[1, 1, 0, 0]], [[0.9, 0.8, 0.1, 0.3]])
        0.0
    """
    return MEASURES["pixel_error"](truth, proposal)


def rand_error(truth: ArrayLike, proposal: ArrayLike) -> float:
    """1 - the best foreground-restricted Rand F-score, pooled over all slices; see :meth:`Measure.curve`.

    Cells are 4-connected components; every proposed membrane pixel counts as a cell of its own, so that thick
    membranes cost, unlike in :func:`v_rand`.
    """
    return MEASURES["rand_error"](truth, proposal)


def warping_error(truth: ArrayLike, proposal: ArrayLike) -> float:
    """Least number of splits and mergers a pixel that no shift of borders explains; see :meth:`Measure.curve`.

    Jain et al. 2010, as the challenge reports it: clusters of wrong pixels that split or merge cells, divided by the
    number of pixels.
    """
    return MEASURES["warping_error"](truth, proposal)


def v_rand(truth: ArrayLike, proposal: ArrayLike) -> float:
    """Best foreground-restricted Rand F-score after border thinning, mean over slices; see :meth:`Measure.curve`.

    Arganda-Carreras et al. 2015, V^Rand_(thinned), the challenge's main score.
    """
    return MEASURES["v_rand"](truth, proposal)


def v_info(truth: ArrayLike, proposal: ArrayLike) -> float:
    """Best information theoretic F-score after border thinning; see :meth:`Measure.curve`.

    Arganda-Carreras et al. 2015, V^Info_(thinned).
    """
    return MEASURES["v_info"](truth, proposal)


def _checked(truth: ArrayLike, proposal: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    cells = np.asarray(truth) > 0
    given = np.asarray(proposal, dtype=np.float32)
    if cells.shape != given.shape:
        raise ValueError(f"proposal has shape {given.shape}, truth {cells.shape}: they must be equal")
    if cells.ndim not in (2, 3) or cells.size == 0:
        raise ValueError(f"truth must be (slices, H, W) or (H, W) with at least one px, got shape {cells.shape}")
    if cells.ndim == 2:
        cells, given = cells[None], given[None]
    low, high = given.min(axis=(1, 2)), given.max(axis=(1, 2))
    wrong = np.flatnonzero(~((low >= 0) & (high <= 1)))  # NaN fails both
    if wrong.size:
        index = int(wrong[0])
        raise ValueError(
            f"proposal must lie in 0..1, got {low[index]:g} to {high[index]:g} in slice {index}: apply a softmax to "
            "logits, divide 8 bit by 255"
        )
    return cells, given
