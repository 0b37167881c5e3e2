"""The cell options that fit annotated cells best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundle.cells import CellOptions, probability_to_instances
from bundle.geometry import relative_spacing
from bundle.metrics.ctc import jaccard_indices
from bundle.metrics.objects import detections

#: with fewer images, two settings are compared, for the best of many on a few images is worse on others
FEW = 5
#: gains that are no larger are none
_EQUAL = 0.002
_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
_LOW = (None, 0.2, 0.35, 0.5)
#: of the median radius of a cell
_DISTANCES = (0.5, 0.75, 1.0)
_USUAL_DISTANCE = 1
#: of the median size of a cell
_SIZES = (0.0, 0.05, 0.1, 0.25)
_USUAL_SIZE = 0.1


class Annotated(NamedTuple):
    """One image: probability of "cell", HW[D] of 0..1, and its cells: 0 background, 1.. cells, -1 not annotated."""

    probability: NDArray[Any]
    truth: NDArray[Any]


class Fit(NamedTuple):
    """What one choice of options reaches on annotated cells.

    Attributes:
        options: how cells were read.
        overlaps: of each image: intersection over union of each annotated cell with the one that was found, as in SEG.
        invented: of each image: cells that were found where none is annotated.
        found: annotated cells that were found, at an intersection over union of 0.5.
    """

    options: CellOptions
    overlaps: tuple[NDArray[np.float64], ...]
    invented: tuple[int, ...]
    found: int

    @property
    def cells(self) -> int:
        return sum(each.size for each in self.overlaps)

    @property
    def seg(self) -> float:
        return float(np.concatenate(self.overlaps).mean()) if self.cells else float("nan")

    @property
    def score(self) -> float:
        """SEG where each invented cell counts as one more cell of which nothing was found."""
        return float(np.concatenate(self.overlaps).sum() / max(1, self.cells + sum(self.invented)))

    def clearly_better(self, other: Fit) -> bool:
        """By more than twice what chance changes: the root of the sum of squares over cells, and over images.

        So one cell proves nothing, nor does one image.
        """
        changes = [mine - others for mine, others in zip(self.overlaps, other.overlaps, strict=True)]
        # a cell that only one of them invents costs about what a cell brings
        costs = [other.score * (b - a) for a, b in zip(self.invented, other.invented, strict=True)]
        of_cells = sum(
            float((change**2).sum()) + other.score * abs(cost) for change, cost in zip(changes, costs, strict=True)
        )
        of_images = sum(float(change.sum() + cost) ** 2 for change, cost in zip(changes, costs, strict=True))
        chance = 2 * float(np.sqrt(max(of_cells, of_images)))
        return self.score - other.score > max(
            _EQUAL, chance / (self.cells + max(sum(self.invented), sum(other.invented)))
        )


def typical_size(truths: Iterable[NDArray[Any]]) -> float:
    """Median px (voxels) of the annotated cells that do not touch the edge of their image, or of all; 0 without any."""
    whole, every = [], []
    for truth in truths:
        numbers, sizes = np.unique(truth[truth > 0], return_counts=True)
        edges = [truth.take(edge, axis=axis).ravel() for axis in range(truth.ndim) for edge in (0, -1)]
        whole += list(sizes[~np.isin(numbers, np.concatenate(edges))])
        every += list(sizes)
    return float(np.median(whole or every)) if every else 0.0


def smallest_cell(size: float) -> int:
    """Px below which something is no cell, where cells have a median of ``size`` px."""
    return int(size * _USUAL_SIZE)


def search_options(images: Sequence[Annotated], start: CellOptions, free: Iterable[str]) -> list[Fit]:
    """Options by the size of the annotated cells, and what is clearly better on several images.

    Cells are split by the probability at 0.75 of their median radius, unless they fit better without or as at the
    start, and those of less than a tenth of their median size are removed. From five images on, other thresholds,
    distances, sizes and gaps are tried one after another, and what is clearly better is kept: the thresholds first and
    the splitting first, for either may make the other unnecessary.

    Args:
        images: annotated images.
        start: all other options.
        free: names of the options that may change.

    Returns:
        All that was tried, the choice first, the others by their score.

    Raises:
        ValueError: when no cell is annotated.
    """
    size = typical_size(image.truth for image in images)
    if not size:
        raise ValueError("no image has an annotated cell: how cells are read cannot be chosen")
    search = _Search(images, set(free), size)
    best = max(map(search.fit, [*search.by_size(start), start]), key=lambda fit: fit.score)
    if len(images) >= FEW:
        ways = (["thresholds", "split"], ["split", "thresholds", "split"])
        ends = [search.along(best, [*way, "around", "size", "gaps"]) for way in ways]
        best = ends[1] if ends[1].clearly_better(ends[0]) else ends[0]
    others = [fit for fit in search.fits.values() if fit is not best]
    return [best, *sorted(others, key=lambda fit: -fit.score)]


class _Search:
    def __init__(self, images: Sequence[Annotated], free: set[str], size: float) -> None:
        self.images, self.free, self.size = images, free, size
        self.fits: dict[CellOptions, Fit] = {}

    def fit(self, options: CellOptions) -> Fit:
        if options not in self.fits:
            found = [probability_to_instances(image.probability, options) for image in self.images]
            pairs = [(image.truth, cells) for image, cells in zip(self.images, found, strict=True)]
            counts = [detections(*pair) for pair in pairs]
            self.fits[options] = Fit(
                options,
                tuple(jaccard_indices(*pair) for pair in pairs),
                tuple(count.false for count in counts),
                sum(count.found for count in counts),
            )
        return self.fits[options]

    def by_size(self, start: CellOptions) -> list[CellOptions]:
        """With and without splitting, distance and smallest size as the cells are large."""
        usual = {"min_size": smallest_cell(self.size), "split_distance": self._distances(start)[_USUAL_DISTANCE]}
        kinds = ("probability", None) if "split_by" in self.free else (start.split_by,)
        changes = [{**usual, "split_by": kind} for kind in kinds]
        return [CellOptions.of(start, **{n: v for n, v in each.items() if n in self.free}) for each in changes]

    def along(self, current: Fit, steps: Sequence[str]) -> Fit:
        for step in steps:
            current = self._best(current, getattr(self, f"_{step}")(current.options))
        return current

    def _best(self, current: Fit, changes: Iterable[Mapping[str, Any]]) -> Fit:
        allowed = [
            CellOptions.of(current.options, **change)
            for change in changes
            if all(name in self.free or value == getattr(current.options, name) for name, value in change.items())
        ]
        best = max(map(self.fit, allowed), key=lambda fit: fit.score, default=current)
        return best if best.clearly_better(current) else current

    def _thresholds(self, now: CellOptions) -> list[dict[str, Any]]:
        return [_pair(high, low) for high in _THRESHOLDS for low in _LOW if low is None or low < high]

    def _around(self, now: CellOptions) -> list[dict[str, Any]]:
        high, low = now.threshold, now.low_threshold
        highs = [round(high + step, 2) for step in (-0.1, 0.0, 0.1)]
        lows = [None] if low is None else [round(low + step, 3) for step in (-0.075, 0.0, 0.075)]
        return [_pair(h, one) for h in highs for one in lows if 0 <= h < 1 and (one is None or 0 < one < h)]

    def _distances(self, now: CellOptions) -> list[float]:
        size = self.size * prod(relative_spacing(now.spacing) if now.spacing is not None else [1.0])
        dims = now.spatial_dims or self.images[0].truth.ndim
        radius = (3 * size / (4 * np.pi)) ** (1 / 3) if dims == 3 else (size / np.pi) ** 0.5
        return [max(1.0, round(radius * part, 1)) for part in _DISTANCES]

    def _split(self, now: CellOptions) -> list[dict[str, Any]]:
        return [
            {"split_by": None},
            *(
                {"split_by": by, "split_distance": px}
                for by in ("distance", "probability")
                for px in self._distances(now)
            ),
        ]

    def _size(self, now: CellOptions) -> list[dict[str, Any]]:
        return [{"min_size": int(self.size * part)} for part in _SIZES]

    def _gaps(self, now: CellOptions) -> list[dict[str, Any]]:
        return [{"close_gaps": px} for px in (0.0, 1.0)]


def _pair(high: float, low: float | None) -> dict[str, Any]:
    return {"threshold": high, "low_threshold": low}
