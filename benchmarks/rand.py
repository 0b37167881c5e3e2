"""The Rand error of one slice at one threshold, beside scikit-image's, which has its labels found already."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.ndimage import gaussian_filter, label
from skimage.metrics import adapted_rand_error
from skimage.segmentation import find_boundaries

from benchmarks.samples import cells
from benchmarks.timing import Options, Table, interleave, require, timing_table
from bundle.metrics.rand import rand_counts, rand_curve, thinned_counts

__all__ = ["run"]

THRESHOLD = np.array([0.5])


def run(options: Options, size: int = 512, count: int = 300) -> Iterator[Table]:
    """One table for a clean proposal, one for a noisy one that falls into thousands of components."""
    for noise in (0.0, 0.25):
        truth, proposal = _slice_of_cells(size, count, noise)
        true, (proposed, components) = label(truth)[0], label(proposal > THRESHOLD[0])
        _check(truth, proposal, true, proposed)
        timings = interleave(_contenders(truth, proposal, true, proposed), options.repeats)
        yield timing_table(f"Rand error, {size} x {size} px, {count} cells, {components} proposed", timings)


def _slice_of_cells(size: int, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """HW bool truth of ``count`` cells with a membrane, and a HW float32 proposal: it blurred, with noise."""
    instances = cells(size, count)
    truth = (instances > 0) & ~find_boundaries(instances, mode="inner")
    random = np.random.RandomState(0)
    proposal = gaussian_filter(truth.astype(np.float32), 1.0) + noise * random.standard_normal(truth.shape)
    return truth, np.clip(proposal, 0, 1).astype(np.float32)


def _contenders(
    truth: np.ndarray, proposal: np.ndarray, true: np.ndarray, proposed: np.ndarray
) -> dict[str, Callable[[], object]]:
    return {
        "Rand error, components included": lambda: rand_curve(rand_counts(truth, proposal, THRESHOLD)),
        "adapted_rand_error of label maps": lambda: adapted_rand_error(true, proposed),
        "the same, components included": lambda: adapted_rand_error(label(truth)[0], label(proposal > THRESHOLD[0])[0]),
        "V_rand and V_info, thinning included": lambda: thinned_counts(truth, proposal, THRESHOLD),
    }


def _check(truth: np.ndarray, proposal: np.ndarray, true: np.ndarray, proposed: np.ndarray) -> None:
    """Equal, once each membrane pixel has a label of its own, and pairs of a pixel with itself are taken out."""
    both, in_proposal, in_truth = rand_counts(truth, proposal, THRESHOLD)[0] - truth.sum()
    alone = np.where(proposed > 0, proposed, proposed.max() + 1 + np.arange(truth.size).reshape(truth.shape))
    theirs = adapted_rand_error(true, alone)[0]
    ours = 1 - 2 * both / (in_proposal + in_truth)
    require(abs(ours - theirs) < 1e-9, f"Rand error {ours:.9f} is not that of adapted_rand_error, {theirs:.9f}")
