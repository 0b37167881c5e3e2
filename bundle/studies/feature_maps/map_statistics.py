"""How much a branch's map does, in three numbers that were chosen before any was looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

#: name of the map that a network decides by, the sum of those of its branches
SUM = "sum"
#: fields of :class:`MapStatistics` that the rule can go by; of each the smallest marks the branch that does least
STATISTICS = {
    "contrast": "mean over cells less mean over background, in logits",
    "frequency": "mean spatial frequency of the map by that of the truth, or the truth's by the map's, whichever is "
    "below 1",
    "leftover": "correlation with what the other branches' sum leaves unexplained of the truth",
}


class MapStatistics(NamedTuple):
    """Of one map, over all tuning images; NaN where a class is absent, 0 for a map that has one value only.

    Attributes:
        contrast: mean of the map over cells less its mean over background, in logits. It needs no knowledge of a
            map's offset, has the unit in which branches are added, and is additive as they are.
        std: standard deviation of the map over all annotated pixels, in logits.
        frequency: in (0, 1]: how near the map's mean spatial frequency (cycles a px, weighted by power) is to the
            truth's; 1 where they are equal. Blurred and grainy maps both have less.
        leftover: in [-1, 1]: correlation of the map with the residual of the truth (1 cell, 0 background) after least
            squares on the sum of the other branches; of :data:`SUM`, the correlation with the truth itself.
    """

    contrast: float
    std: float
    frequency: float
    leftover: float


def statistics_of(maps: Mapping[str, Sequence[np.ndarray]], truths: Sequence[np.ndarray]) -> dict[str, MapStatistics]:
    """The statistics of all maps of one network.

    Args:
        maps: name -> for each tuning image HW, in logits; :data:`SUM` among them, the sum of the others.
        truths: HW integers, above 0 cell, 0 background, below 0 not annotated: left out.
    """
    truth = np.concatenate([each.ravel() for each in truths])
    known = truth >= 0
    cell = (truth[known] > 0).astype(np.float64)
    of_truth = _frequency([(each > 0).astype(np.float64) for each in truths], truths)
    flat = {name: np.concatenate([m.ravel() for m in own]).astype(np.float64)[known] for name, own in maps.items()}
    found = {}
    for name, own in maps.items():
        values = flat[name]
        others = np.zeros_like(values) if name == SUM else flat[SUM] - values
        found[name] = MapStatistics(
            contrast=_mean(values[cell == 1]) - _mean(values[cell == 0]),
            std=float(values.std()) if len(values) else math.nan,
            frequency=_nearness(_frequency(own, truths), of_truth),
            leftover=_correlation(values, _residual(cell, others)),
        )
    return found


def weakest(values: Mapping[str, float], statistic: str = "contrast") -> str:
    """The branch whose statistic is the smallest.

    Raises:
        ValueError: when one is NaN, for want of cells or of background in the tuning images.
    """
    if any(math.isnan(value) for value in values.values()):
        raise ValueError(
            f"the tuning images have cells or background only, so no map has a {statistic}: give more --images"
        )
    return min(values, key=lambda name: values[name])


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _frequency(images: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> float:
    """Mean spatial frequency in cycles a px, weighted by power; 0 for constant images.

    By the cosine transform, whose image goes on mirrored: an edge of the image is no edge of the map. The mean and
    what is not annotated count nothing.
    """
    moment = total = 0.0
    for image, truth in zip(images, truths, strict=True):
        known = truth >= 0
        if not known.any():
            continue
        values = np.asarray(image, np.float64)
        power = dctn(np.where(known, values - values[known].mean(), 0.0), norm="ortho") ** 2
        frequencies = np.hypot.outer(*(np.arange(size) / (2 * size) for size in power.shape))
        moment += float((frequencies * power).sum())
        total += float(power.sum())
    return moment / total if total > 0 else 0.0


def _nearness(own: float, of_truth: float) -> float:
    return min(own, of_truth) / max(own, of_truth) if of_truth > 0 else math.nan


def _residual(target: NDArray[np.float64], explained_by: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of least squares with a constant."""
    x, y = explained_by - _mean(explained_by), target - _mean(target)
    square = float(x @ x)
    return y - (float(x @ y) / square) * x if square > 0 else y


def _correlation(values: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    x, y = values - _mean(values), target - _mean(target)
    if not float(y @ y) > 0:
        return math.nan
    return float(x @ y) / math.sqrt(float(x @ x) * float(y @ y)) if float(x @ x) > 0 else 0.0
