"""SEG, the segmentation measure of the Cell Tracking Challenge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.contingency import contingency


def jaccard_indices(truth: ArrayLike, result: ArrayLike) -> NDArray[np.float64]:
    """Jaccard index of every reference object of one frame with the result object that covers more than half of it.

    J = |R and S| / |R or S| if |R and S| > |R| / 2, else 0: at most one S can cover more than half of R.

    Args:
        truth: label map of whole numbers, 0 background, -1 annotated by nobody (no object either); any number of axes.
        result: label map of the same shape, 0 background.

    Returns:
        one value in 0..1 for each reference object, in the order of their numbers.

    Raises:
        ValueError: for shapes that differ, or labels that are not whole numbers of at least 0 (-1 in ``truth``).
    """
    table = contingency(truth, result)
    area, other_area = table.areas[table.one], table.other_areas[table.other]
    matched = (2 * table.overlap > area) & (table.others[table.other] > 0)
    jaccard = np.zeros(len(table.labels))
    jaccard[table.one[matched]] = (table.overlap / (area + other_area - table.overlap))[matched]
    return jaccard[table.labels > 0]


def seg(truth_frames: Iterable[ArrayLike], result_frames: Iterable[ArrayLike]) -> float:
    """Mean Jaccard index over all reference objects, pooled over the frames; false positives are not penalised.

    Args:
        truth_frames: label maps, 0 background, 1.. the reference objects, -1 annotated by nobody.
        result_frames: label maps of equal shapes, one for each of ``truth_frames``.

    Raises:
        ValueError: as :func:`jaccard_indices`, with the position of the frame; for numbers of frames that differ, or
            without any reference object.

    Examples:
        >>> seg([[[1, 1, 0, 2]]], [[[7, 0, 0, 8]]])
        0.5
    """
    pooled = []
    for position, (truth, result) in enumerate(zip_longest(truth_frames, result_frames)):
        if truth is None or result is None:
            raise ValueError(
                f"{'truth' if truth is None else 'result'}_frames end after {position} frames, the others continue"
            )
        try:
            pooled.append(jaccard_indices(truth, result))
        except ValueError as error:
            raise ValueError(f"frame at position {position}: {error}") from error
    return mean_of_objects(pooled)


def mean_of_objects(pooled: Sequence[NDArray[np.float64]]) -> float:
    """Mean over the objects of all frames.

    Raises:
        ValueError: without any object.
    """
    values = np.concatenate(pooled) if pooled else np.empty(0)
    if values.size == 0:
        raise ValueError("the truth holds no object: SEG is a mean over the reference objects")
    return float(values.mean())
