"""The warping error of a whole stack beside a plain-Python reading of it, and the Rand error beside scikit-image's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.ndimage import gaussian_filter, label
from skimage.metrics import adapted_rand_error
from skimage.segmentation import find_boundaries

from benchmarks.samples import cells
from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells, timing_table
from bundle.metrics.isbi2012 import THRESHOLDS
from bundle.metrics.rand import rand_counts, rand_curve, thinned_counts
from bundle.metrics.warping import warping_counts
from tests.reference import warping as plain

#: of the Rand error
THRESHOLD = np.array([0.5])


def run(options: Options, slices: int = 30, size: int = 512, count: int = 300, window: int = 128) -> Iterator[Table]:
    """A table of the warping error of a stack, and two of the Rand error of a slice."""
    yield _warping(options, slices, size, count, window)
    yield from _rand(options, size, count)


def _warping(options: Options, slices: int, size: int, count: int, window: int) -> Table:
    """The ratio is one of times a pixel.

    The plain reading is timed on a window of the first slice. It labels a slice anew for some of the residual pixels,
    so on whole slices it is slower still.
    """
    truth, proposal = _membrane_stack(slices, size, count)
    true, proposed = truth[0, :window, :window], proposal[0, :window, :window]
    arguments = true.tolist(), proposed.tolist(), THRESHOLDS.tolist()
    found, expected = warping_counts(true, proposed, THRESHOLDS), plain.counts(*arguments)
    require(np.array_equal(found, expected), "warping error: counts differ from those of the plain reading")
    require(found[:, :2].any(), "warping error: the sample has no split and no merger")
    contenders: dict[str, Callable[[], object]] = {
        "warping_counts": lambda: [warping_counts(*pair, THRESHOLDS) for pair in zip(truth, proposal, strict=True)],
        "plain Python": lambda: plain.counts(*arguments),
    }
    ours, theirs = interleave(contenders, options.repeats).values()
    ms, quartiles, _ = timing_cells(theirs)
    rows = [
        ["warping_counts", f"{slices} x {size} x {size} px", *timing_cells(ours)],
        ["plain Python", f"1 x {window} x {window} px", ms, quartiles, f"{truth.size / true.size * theirs.ratio:.0f}"],
    ]
    title = f"warping error, {len(THRESHOLDS)} thresholds; ratio of times a pixel: plain Python on a window, scaled"
    return Table(title, ("", "timed on", *TIMING_COLUMNS), rows)


def _membrane_stack(slices: int, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(slices, size, size) bool truth of ``count`` cells a slice, and a float32 proposal with errors of all kinds.

    Truth and noise are blurred together, so that the errors hang together as those of a network do.
    """
    truth = np.empty((slices, size, size), bool)
    proposal = np.empty(truth.shape, np.float32)
    for seed in range(slices):
        instances = cells(size, count, seed)
        truth[seed] = (instances > 0) & ~find_boundaries(instances, mode="thick")
        noise = np.random.RandomState(seed).standard_normal(instances.shape)
        proposal[seed] = np.clip(gaussian_filter(truth[seed] + 0.5 * noise, 1.0), 0, 1)
    return truth, proposal


def _rand(options: Options, size: int, count: int) -> Iterator[Table]:
    """A slice at one threshold: one table for a clean proposal, one for a noisy one of thousands of components.

    scikit-image has its labels found already.
    """
    for noise in (0.0, 0.25):
        truth, proposal = _slice_of_cells(size, count, noise)
        true, (proposed, components) = label(truth)[0], label(proposal > THRESHOLD[0])
        _check_rand(truth, proposal, true, proposed)
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


def _check_rand(truth: np.ndarray, proposal: np.ndarray, true: np.ndarray, proposed: np.ndarray) -> None:
    """Both errors are equal where they count alike: theirs gets a label for each membrane pixel, ours leaves out the
    pairs that a pixel makes with itself."""
    both, in_proposal, in_truth = rand_counts(truth, proposal, THRESHOLD)[0] - truth.sum()
    alone = np.where(proposed > 0, proposed, proposed.max() + 1 + np.arange(truth.size).reshape(truth.shape))
    theirs = adapted_rand_error(true, alone)[0]
    ours = 1 - 2 * both / (in_proposal + in_truth)
    require(abs(ours - theirs) < 1e-9, f"Rand error {ours:.9f} is not that of adapted_rand_error, {theirs:.9f}")
