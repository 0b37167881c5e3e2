"""What an evaluation measured, as tables: a row for each image, and a summary."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import string_list_all_gather

from bundle import atomic
from bundle.console import counted
from bundle.output.formats import write_png
from bundle.output.threshold_picture import threshold_picture
from bundle.tracking.tracker import MLflowTracker

logger = logging.getLogger(__name__)

_STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean,
    "std": np.std,
    "min": np.min,
    "median": np.median,
    "max": np.max,
}


class MetricTables:
    """Ignite handler for an evaluator: writes ``images.csv`` and ``summary.csv``, and logs them to the tracker's run.

    ``images.csv`` has one row an image, in the order of their names, and a column for each metric that keeps one
    value an image in ``engine.state.metric_details``, as MONAI's handlers and ours do; a cell is empty where an image
    has no value. ``summary.csv`` has one row a metric: the value reported, then mean, standard deviation, minimum,
    median and maximum over the images, and how many of them had a value. Where the evaluator has measures that take
    the best of several thresholds (``engine.state.metric_curves``), ``thresholds.csv`` has a row a threshold with each
    measure of all images together, and ``thresholds.png`` shows it. On several processes the first one writes for all.

    Args:
        folder: where they go; made if absent.
        tracker: of the run; None logs nowhere.
    """

    def __init__(self, folder: str | os.PathLike[str], tracker: MLflowTracker | None = None) -> None:
        self.folder = Path(folder)
        self.tracker = tracker
        self._names: list[str] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _begin(self, engine: Engine) -> None:
        self._names = []

    def _note(self, engine: Engine) -> None:
        batch: Any = engine.state.batch  # decollated
        self._names += [item["name"] for item in batch]

    def __call__(self, engine: Engine) -> None:
        names = string_list_all_gather(self._names) if idist.get_world_size() > 1 else self._names
        if idist.get_rank() > 0:
            return
        state: Any = engine.state
        # those of MONAI's own metrics are on the device that computed them
        details = {name: torch.as_tensor(detail).detach().cpu() for name, detail in state.metric_details.items()}
        values = {
            name: detail.double().flatten().numpy() for name, detail in details.items() if detail.numel() == len(names)
        }
        # where there are fewer images than processes, each process measures them all
        order = [names.index(name) for name in sorted(set(names))]
        atomic.remove_leftovers(self.folder, below=True)
        images = [[names[i], *(column[i] for column in values.values())] for i in order]
        self._write("images.csv", ["image", *values], images)
        summary = [[name, float(value), *_spread(values.get(name), order)] for name, value in state.metrics.items()]
        if curves := getattr(state, "metric_curves", None):
            self._write_curves(curves)
        self._write("summary.csv", ["metric", "value", *_STATISTICS, "images"], summary)
        told = ", ".join(f"{name} {float(value):.4g}" for name, value in state.metrics.items())
        logger.info(
            "%s: %s; tables: %s and images.csv", counted(len(order), "image"), told, self.folder / "summary.csv"
        )

    def _write_curves(self, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        rows: dict[float, dict[str, float]] = {}
        for name, (thresholds, measured) in curves.items():
            for threshold, value in zip(thresholds, measured, strict=True):
                rows.setdefault(round(float(threshold), 1), {})[name] = float(value)
        table = [[threshold, *(row.get(name, "") for name in curves)] for threshold, row in sorted(rows.items())]
        self._write("thresholds.csv", ["threshold", *curves], table)
        picture = self.folder / "thresholds.png"
        write_png(picture, threshold_picture(curves))
        if self.tracker is not None:
            self.tracker.log_artifact(picture)

    def _write(self, name: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        atomic.write_csv(self.folder / name, head, rows, digits=6)  # a table that is there is whole: studies rely on it
        if self.tracker is not None:
            self.tracker.log_artifact(self.folder / name)


def _spread(column: np.ndarray | None, order: Sequence[int]) -> list[float | str]:
    found = np.empty(0) if column is None else column[list(order)]
    found = found[~np.isnan(found)]
    if found.size == 0:
        return [*[""] * len(_STATISTICS), 0]
    return [*(statistic(found) for statistic in _STATISTICS.values()), len(found)]
