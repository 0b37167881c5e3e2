"""Metrics of each class and their means: IoU, Dice and SEG, and the confusion matrix that they come from.

Counts of all images add up before a ratio is taken, as in :mod:`bundle.metrics.engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from monai.metrics import CumulativeIterationMetric
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.ctc import jaccard_indices

Floats = NDArray[np.float64]

#: in the place of a class's name: the mean over all classes but the background that have a value
MEAN = "mean"
_MEASURES = ("iou", "dice", "seg")
#: what an engine puts out of an image, all 1HW[D]: annotated class of every pixel, annotated instances, class found,
#: cells found, class of the cell at every pixel
_MAPS = ("true_classes", "truth", "class_map", "cells", "cell_class_map")


def confusion_matrix(truth: ArrayLike, found: ArrayLike, count: int) -> NDArray[np.int64]:
    """Pixels of each pair of classes.

    Args:
        truth: class of every pixel, any number of axes; below 0 where nobody annotated, which counts for nothing.
        found: class of every pixel, of the same shape.
        count: of the classes.

    Returns:
        (count, count): a row for each true class, a column for each one found.

    Raises:
        ValueError: for shapes that differ, or classes beyond ``count``.

    Examples:
        >>> confusion_matrix([0, 0, 1, -1], [0, 1, 1, 1], 2).tolist()
        [[1, 1], [0, 1]]
    """
    reference, result = np.asarray(truth), np.asarray(found)
    if reference.shape != result.shape:
        raise ValueError(f"found has shape {result.shape}, truth {reference.shape}: they must be equal")
    known = reference >= 0
    reference, result = reference[known].astype(np.int64), result[known].astype(np.int64)
    for extreme in (result.min(initial=0), result.max(initial=0), reference.max(initial=0)):
        if not 0 <= extreme < count:
            raise ValueError(f"classes must be 0 to {count - 1}, got {extreme}")
    return np.bincount(reference * count + result, minlength=count * count).reshape(count, count)


def seg_counts(
    truth: np.ndarray, true_classes: np.ndarray, cells: np.ndarray, cell_classes: np.ndarray, count: int
) -> Floats:
    """Of each class but the first, the sum of the Jaccard indices of its reference objects, and how many these are.

    Args:
        truth: instances of one image: 0 background, 1.. objects, below 0 where nobody annotated.
        true_classes: class of every pixel, below 0 where nobody annotated.
        cells: cells found, of the same shape: 0 background, 1.. cells.
        cell_classes: class of the cell at every pixel.
        count: of the classes.

    Returns:
        (count - 1, 2).
    """
    rows = []
    for number in range(1, count):
        own = np.where(true_classes == number, truth, np.minimum(truth, 0))
        jaccard = jaccard_indices(own, np.where(cell_classes == number, cells, 0))
        rows.append((jaccard.sum(), len(jaccard)))
    return np.array(rows, dtype=np.float64)


class ClassCounts(CumulativeIterationMetric):
    """What all class metrics are made of, counted once an image and gathered from all processes.

    Args:
        names: of the classes, the background's first.

    Raises:
        KeyError: on update, for an item without one of the maps.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self._seen = -1

    def begin(self) -> None:
        """Forget what was counted."""
        self.reset()  # type: ignore[no-untyped-call]
        self._seen = -1

    def see(self, iteration: int, output: Any) -> None:
        """Count the images of an iteration, whoever asks first."""
        if iteration == self._seen:
            return
        self._seen = iteration
        for item in output if isinstance(output, list) else [output]:
            maps = [np.asarray(torch.as_tensor(item[key]).detach().cpu()) for key in _MAPS]
            self(torch.from_numpy(self._row(*maps))[None])

    def _row(
        self, true_classes: np.ndarray, truth: np.ndarray, found: np.ndarray, cells: np.ndarray, of_cells: np.ndarray
    ) -> Floats:
        count = len(self.names)
        objects = seg_counts(truth, true_classes, cells, of_cells, count)
        return np.concatenate([confusion_matrix(true_classes, found, count).ravel(), objects.ravel()])

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        return y_pred  # the row of an image, counted before

    def rows(self) -> Floats:
        """The counts of every image seen by any process, (N, K * K + 2 (K - 1)).

        Raises:
            ValueError: when no image was seen.
        """
        gathered: Any = self.get_buffer()  # type: ignore[no-untyped-call]
        if not isinstance(gathered, torch.Tensor):
            raise ValueError("no image was seen: there is nothing to aggregate")
        return np.asarray(gathered.cpu())

    def aggregate(self) -> NDArray[np.int64]:
        """The confusion matrix of all images, (K, K)."""
        count = len(self.names)
        matrix: NDArray[np.int64] = self.rows().sum(axis=0)[: count * count].reshape(count, count).astype(np.int64)
        return matrix

    def values(self, row: Floats) -> dict[str, float]:
        """Metric -> value of a row of counts, or of a sum of rows: ``iou/NAME`` and so on; NaN where there is none."""
        count = len(self.names)
        matrix, objects = row[: count * count].reshape(count, count), row[count * count :].reshape(count - 1, 2)
        both, true, found = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            measured = {
                "iou": both / (true + found - both),
                "dice": 2 * both / (true + found),
                "seg": np.concatenate([[np.nan], objects[:, 0] / objects[:, 1]]),
            }
        found_values = {}
        for measure, of_class in measured.items():
            known = of_class[1:][~np.isnan(of_class[1:])]
            found_values[f"{measure}/{MEAN}"] = float(known.mean()) if known.size else float("nan")
            found_values |= {f"{measure}/{name}": float(of_class[i]) for i, name in enumerate(self.names)}
        return found_values


class ClassMetric(Metric):
    """One value of :class:`ClassCounts` for the engines; that of single images goes to ``engine.state.metric_details``.

    Args:
        counts: shared by all metrics of an engine.
        name: of :meth:`ClassCounts.values`.
    """

    def __init__(self, counts: ClassCounts, name: str) -> None:
        self.counts = counts
        self.name = name
        super().__init__()

    def reset(self) -> None:
        self.counts.begin()

    def iteration_completed(self, engine: Engine) -> None:
        self.counts.see(engine.state.iteration, engine.state.output)

    def update(self, output: Any) -> None:
        """Nothing: the counts look at the output by themselves."""

    def compute(self) -> float:
        return self.counts.values(self.counts.rows().sum(axis=0))[self.name]

    def completed(self, engine: Engine, name: str) -> None:
        super().completed(engine, name)
        of_images = [self.counts.values(row)[self.name] for row in self.counts.rows()]
        engine.state.metric_details[name] = torch.tensor(of_images, dtype=torch.float64)  # type: ignore[attr-defined]


class ClassMetrics:
    """All metrics of several classes by their names; none for a single kind of cell.

    Attributes:
        counts: that they share; None without classes.
        handlers: ``iou/NAME``, ``dice/NAME``, ``seg/NAME`` (not of the background) and their ``mean``.

    Args:
        names: of the classes, the background's first; None: there is one kind of cell without a name.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self.counts = None if names is None else ClassCounts(names)
        self.handlers: dict[str, ClassMetric] = {}
        if names is None or self.counts is None:
            return
        for measure in _MEASURES:
            for name in (MEAN, *names[measure == "seg" :]):
                self.handlers[f"{measure}/{name}"] = ClassMetric(self.counts, f"{measure}/{name}")
