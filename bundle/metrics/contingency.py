"""How two label maps overlap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transforms.labels.instances import IGNORE

Numbers = NDArray[np.int64]


class Contingency(NamedTuple):
    """The labels of two maps and their overlaps, all int64; only pairs that meet, or 10^5 objects would be too many.

    Attributes:
        labels, areas: of the first map, ascending, and their px.
        others, other_areas: of the second map.
        one, other: of every pair that meets, its positions in ``labels`` and ``others``.
        overlap: px of every pair.
    """

    labels: Numbers
    areas: Numbers
    others: Numbers
    other_areas: Numbers
    one: Numbers
    other: Numbers
    overlap: Numbers


def contingency(truth: ArrayLike, result: ArrayLike) -> Contingency:
    """Pixels that each label of one map shares with each label of another.

    Args:
        truth: label map of whole numbers: 0 background, 1.. objects, -1 where nobody annotated; any number of axes.
        result: label map of the same shape: 0 background, 1.. objects.

    Raises:
        ValueError: for shapes that differ, or labels that are not whole numbers of at least 0 (-1 in ``truth``).
    """
    reference, found = whole_labels(truth, "truth", least=IGNORE), whole_labels(result, "result", least=0)
    if reference.shape != found.shape:
        raise ValueError(f"result has shape {found.shape}, truth {reference.shape}: they must be equal")
    labels, reference = np.unique(reference, return_inverse=True)
    others, found = np.unique(found, return_inverse=True)
    areas, other_areas = np.bincount(reference.ravel()), np.bincount(found.ravel())
    pairs, overlap = np.unique(reference.ravel() * len(others) + found.ravel(), return_counts=True)
    one, other = np.divmod(pairs, max(1, len(others)))
    return Contingency(labels, areas, others, other_areas, one, other, overlap)


def whole_labels(array: ArrayLike, name: str, least: int = 0) -> Numbers:
    """Labels of any numeric type as int64, in which no sum or product overflows.

    Raises:
        ValueError: for NaN, fractions, labels below ``least``, or what is no number.
    """
    labels = np.asarray(array)
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold whole numbers of at least {least}, got dtype {labels.dtype}")
    with np.errstate(invalid="ignore"):  # NaN and numbers beyond int64 become others, and are refused as such
        whole = labels.astype(np.int64)
    wrong = labels[(whole != labels) | (whole < least)]
    if wrong.size:
        raise ValueError(f"{name} must hold whole numbers of at least {least}, got {wrong.flat[0]} ({labels.dtype})")
    return whole
