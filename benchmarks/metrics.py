"""The warping error of a whole stack beside a plain-Python reading of it, and the Rand error beside scikit-image's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.segmentation import find_boundaries

from benchmarks import rand
from benchmarks.samples import cells
from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells
from bundle.metrics.isbi2012 import THRESHOLDS
from bundle.metrics.warping import warping_counts
from tests.reference import warping as plain

__all__ = ["membrane_stack", "run", "warping_rows"]


def membrane_stack(slices: int, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
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


def warping_rows(truth: np.ndarray, proposal: np.ndarray, window: int, repeats: int) -> list[list[str]]:
    """Ours on the stack, the plain reading on a window of its first slice; the ratio is of times a pixel.

    The plain reading labels a slice anew for some of the residual pixels, so on whole slices it is slower still.

    Args:
        truth: (slices, H, W) bool.
        proposal: (slices, H, W) float32 in 0..1.
        window: side of the square in px.
        repeats: timed rounds.

    Raises:
        CheckError: where the two differ in the window.
    """
    true, proposed = truth[0, :window, :window], proposal[0, :window, :window]
    arguments = true.tolist(), proposed.tolist(), THRESHOLDS.tolist()
    ours, theirs = warping_counts(true, proposed, THRESHOLDS), plain.counts(*arguments)
    require(np.array_equal(ours, theirs), "warping error: counts differ from those of the plain reading")
    require(ours[:, :2].any(), "warping error: the sample has no split and no merger")
    timings = interleave(
        {
            "warping_counts": lambda: [warping_counts(*pair, THRESHOLDS) for pair in zip(truth, proposal, strict=True)],
            "plain Python": lambda: plain.counts(*arguments),
        },
        repeats,
    )
    scale = truth.size / true.size
    ms, quartiles, _ = timing_cells(timings["plain Python"])
    whole = " x ".join(map(str, truth.shape))
    return [
        ["warping_counts", f"{whole} px", *timing_cells(timings["warping_counts"])],
        ["plain Python", f"1 x {window} x {window} px", ms, quartiles, f"{scale * timings['plain Python'].ratio:.0f}"],
    ]


def run(options: Options, slices: int = 30, size: int = 512, count: int = 300, window: int = 128) -> Iterator[Table]:
    """A table of the warping error, whose ratio is scaled by pixels, and those of :mod:`benchmarks.rand`."""
    rows = warping_rows(*membrane_stack(slices, size, count), window, options.repeats)
    yield Table(
        f"warping error, {len(THRESHOLDS)} thresholds; ratio of times a pixel: plain Python on a window, scaled",
        ("", "timed on", *TIMING_COLUMNS),
        rows,
    )
    yield from rand.run(options)
