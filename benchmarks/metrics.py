"""The warping error of a whole stack beside a plain-Python reading of it, and the Rand error beside scikit-image's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.segmentation import find_boundaries

from benchmarks import rand
from benchmarks.samples import cells
from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells
from bundle.metrics.isbi2012 import THRESHOLDS
from bundle.metrics.warping import warping_counts
from tests.reference import warping as plain

__all__ = ["run"]


def run(options: Options, slices: int = 30, size: int = 512, count: int = 300, window: int = 128) -> Iterator[Table]:
    """A table of the warping error, whose ratio is one of times a pixel, and those of :mod:`benchmarks.rand`.

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
    yield Table(title, ("", "timed on", *TIMING_COLUMNS), rows)
    yield from rand.run(options)


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
