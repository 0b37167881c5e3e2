"""SEG, the segmentation measure of the Cell Tracking Challenge.

``python -m bundle.metrics.ctc --truth mydata/label --result output`` measures what inference left in ``output``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import ArrayLike, NDArray

__all__ = ["jaccard_indices", "seg"]


def jaccard_indices(truth: ArrayLike, result: ArrayLike) -> NDArray[np.float64]:
    """Jaccard index of every reference object of one frame with the result object that covers more than half of it.

    J = |R and S| / |R or S| if |R and S| > |R| / 2, else 0: at most one S can cover more than half of R.

    Args:
        truth: label map of whole numbers, 0 background; any number of axes.
        result: label map of the same shape.

    Returns:
        one value in 0..1 for each reference object, in the order of their numbers.

    Raises:
        ValueError: for shapes that differ, or labels that are not whole numbers of at least 0.
    """
    reference, found = (_labels(array, name) for array, name in ((truth, "truth"), (result, "result")))
    if reference.shape != found.shape:
        raise ValueError(f"result has shape {found.shape}, truth {reference.shape}: they must be equal")
    names, reference = np.unique(reference, return_inverse=True)
    others, found = np.unique(found, return_inverse=True)
    pairs = reference.ravel() * len(others) + found.ravel()
    overlap = np.bincount(pairs, minlength=len(names) * len(others)).reshape(len(names), len(others))
    area, other_area = overlap.sum(axis=1, keepdims=True), overlap.sum(axis=0, keepdims=True)
    matched = (2 * overlap > area) & (others != 0)
    jaccard = np.where(matched, overlap / (area + other_area - overlap), 0.0)
    return jaccard.max(axis=1)[names != 0]


def seg(truth_frames: Iterable[ArrayLike], result_frames: Iterable[ArrayLike]) -> float:
    """Mean Jaccard index over all reference objects, pooled over the frames; false positives are not penalised.

    Args:
        truth_frames: label maps, 0 background, 1.. the reference objects.
        result_frames: label maps of equal shapes, one for each of ``truth_frames``.

    Raises:
        ValueError: as :func:`jaccard_indices`, for numbers of frames that differ, or without any reference object.

    Example:
        >>> seg([[[1, 1, 0, 2]]], [[[7, 0, 0, 8]]])
        0.5
    """
    pooled = [jaccard_indices(*frames) for frames in zip(truth_frames, result_frames, strict=True)]
    values = np.concatenate(pooled) if pooled else np.empty(0)
    if values.size == 0:
        raise ValueError("truth_frames hold no object: SEG is a mean over the reference objects")
    return float(values.mean())


def _labels(array: ArrayLike, name: str) -> NDArray[np.int64]:
    labels = np.asarray(array)
    whole = labels.astype(np.int64)
    if not np.array_equal(whole, labels) or (whole.size and whole.min() < 0):
        raise ValueError(f"{name} must hold whole numbers of at least 0, got {labels.dtype} from {labels.min()}")
    return whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Print SEG of the label maps ``<name>.tif`` in one folder and ``<name>_cells.tif`` in another."""
    parser = argparse.ArgumentParser(prog="python -m bundle.metrics.ctc", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--truth", type=Path, required=True, help="folder of <name>.tif")
    parser.add_argument("--result", type=Path, required=True, help="folder of <name>_cells.tif, as inference writes")
    parser.add_argument("--names", nargs="+", help="only these images; default: all of --truth")
    options = parser.parse_args(arguments)
    names = options.names or sorted(path.stem for path in options.truth.glob("*.tif"))
    files = [(options.truth / f"{name}.tif", options.result / f"{name}_cells.tif") for name in names]
    missing = [str(path) for pair in files for path in pair if not path.is_file()]
    if missing or not files:
        sys.exit(f"error: {'missing ' + ', '.join(missing[:3]) if missing else f'no .tif in {options.truth}'}")
    frames = [tuple(tifffile.imread(path) for path in pair) for pair in files]
    truth, result = zip(*frames, strict=True)
    objects, found = (sum(len(np.unique(frame[frame > 0])) for frame in maps) for maps in (truth, result))
    print(f"SEG {seg(truth, result):.4f} over {objects} cells in {len(files)} images; {found} cells found")


if __name__ == "__main__":
    main()
