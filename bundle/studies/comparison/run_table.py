"""Rows of runs: seeds of the same settings together, children under their parents, the best first."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, isfinite, log10
from typing import Any

import numpy as np

from bundle.metrics.selection import lower_is_better
from bundle.studies.comparison.mlflow_runs import Run, grouped
from bundle.studies.comparison.run_settings import COMMIT, SEED, differing, measured_images, settings

Values = Mapping[str, float]


@dataclass
class Row:
    """One run, or runs that differ in their seed only.

    ``depth`` counts the parents above, ``number`` from 1 in the order of the table.
    """

    runs: list[Run]
    settings: list[dict[str, str]]
    values: list[Values]
    depth: int = 0
    number: int = 0

    @property
    def finished(self) -> int:
        """How many of the runs finished."""
        return sum(run.finished for run in self.runs)

    def alone(self) -> list[Row]:
        """Each of the runs as a row of its own."""
        parts = zip(self.runs, self.settings, self.values, strict=True)
        return [Row([r], [s], [v], self.depth, self.number) for r, s, v in parts]

    def told(self, setting: str) -> str:
        """The value of a setting; of the seed all values; a dash where there is none."""
        given = (each.get(setting, "–") for each in self.settings)
        values = {"None" if value == "null" else value for value in given}  # as MLflow stores a None of a config
        return ", ".join(sorted(values, key=lambda text: (len(text), text)))

    @property
    def name(self) -> str:
        names = [run.name for run in self.runs]
        if len(names) == 1:
            return names[0]
        letters = os.path.commonprefix(names)  # noqa: RUF071 - names, not paths
        common = re.sub(r"[-_. (]*(s|seed)?[-_. ]*$", "", letters)
        return common or f"{names[0]} and others"

    def column(self, metric: str) -> np.ndarray:
        """Values (n) that count: of the runs that finished, or of all where none did."""
        counting = [v for r, v in zip(self.runs, self.values, strict=True) if r.finished] or self.values
        return np.array([values[metric] for values in counting if isfinite(values.get(metric, np.nan))])

    def mean(self, metric: str) -> float | None:
        column = self.column(metric)
        return float(column.mean()) if len(column) else None

    def std(self, metric: str) -> float | None:
        """The sample's standard deviation; None of a single value."""
        column = self.column(metric)
        return float(column.std(ddof=1)) if len(column) > 1 else None


@dataclass
class Table:
    """Rows in order, the settings that differ between them, the metrics measured, and which values are the best.

    ``metrics`` begins with the one that decided the order. ``best`` holds (number of the row, metric); rows are
    compared only where they measured the same images.
    """

    rows: list[Row]
    settings: list[str]
    metrics: list[str]
    best: set[tuple[int, str]] = field(default_factory=set)

    def decimals(self, metric: str) -> int:
        """So that the largest mean of a column has four digits, and all of the column the same."""
        largest = max((abs(mean) for row in self.rows if (mean := row.mean(metric)) is not None), default=1.0)
        return int(np.clip(4 - ceil(log10(largest)), 0, 6)) if largest > 0 else 4

    @property
    def grouped(self) -> bool:
        """Whether any row is more than one run."""
        return any(len(row.runs) > 1 for row in self.rows)


def make_table(
    runs: Sequence[Run],
    values: Mapping[str, Values],
    settings_of: Mapping[str, dict[str, str]],
    metric: str,
) -> Table:
    """Group and order runs of one kind.

    Args:
        runs: of the table.
        values: run id -> metric -> value.
        settings_of: run id -> name -> value.
        metric: decides the order among siblings: the best first, and last those without a value. Where no run has
            it, the loss does, or else the first by name.
    """
    present = {run.run_id for run in runs}
    groups: dict[tuple[Any, ...], Row] = {}
    for run in runs:
        told = settings_of[run.run_id]
        same = frozenset((name, value) for name, value in told.items() if name != SEED)
        parent = run.parent_id if run.parent_id in present else None
        alone = run.run_id if any(run.run_id == other.parent_id for other in runs) else None  # it has children
        key = (parent, same, measured_images(run), run.params.get(COMMIT), alone)
        row = groups.setdefault(key, Row([], [], []))
        row.runs.append(run)
        row.settings.append(told)
        row.values.append(values.get(run.run_id, {}))
    below: dict[str | None, list[Row]] = {}
    for (parent, *_), row in groups.items():
        below.setdefault(parent, []).append(row)
    measured = sorted({name for run in runs for name in values.get(run.run_id, {})})
    first = next((name for name in (metric, "loss", *measured) if name in measured), metric)
    metrics = sorted(measured, key=lambda name: (name != first, name))
    for siblings in below.values():
        siblings.sort(key=lambda row: _rank(row, first))
    rows = _ordered(below, None, 0)
    for number, row in enumerate(rows, 1):
        row.number = number
    table = Table(rows, differing([told for row in rows for told in row.settings]), metrics)
    table.best = {(row.number, name) for name in metrics for row in _best(rows, name)}
    return table


def newest(evaluations: Sequence[Run], training_of: Callable[[Run], Run | None]) -> list[Run]:
    """Without those that were repeated later: of the same checkpoint of a known training, settings and images."""
    last: dict[object, Run] = {}
    for run in sorted(evaluations, key=lambda run: (run.finished, run.start)):
        training = training_of(run)
        key: object = run.run_id  # without a training the checkpoint is a path only, and who knows what lay there
        if training is not None:
            told = frozenset(settings(run, training).items())
            key = training.run_id, os.path.basename(run.params["checkpoint"]), told, measured_images(run)
        last[key] = run
    stay = {run.run_id for run in last.values()}
    return [run for run in evaluations if run.run_id in stay]


def _rank(row: Row, metric: str) -> float:
    """Low for the best."""
    mean = row.mean(metric)
    if mean is None:
        return inf
    return mean if lower_is_better(metric) else -mean


def _ordered(below: Mapping[str | None, list[Row]], parent: str | None, depth: int) -> list[Row]:
    found = []
    for row in below.get(parent, []):
        row.depth = depth
        found += [row, *(child for run in row.runs for child in _ordered(below, run.run_id, depth + 1))]
    return found


def _best(rows: Sequence[Row], metric: str) -> list[Row]:
    """Of every set of images that at least two rows measured; all of them where several are equal."""
    means = [(mean, row) for row in rows if row.finished and (mean := row.mean(metric)) is not None]
    choose = min if lower_is_better(metric) else max
    found = []
    for entries in grouped(means, lambda entry: measured_images(entry[1].runs[0])).values():
        if len(entries) > 1:
            best = choose(mean for mean, _ in entries)
            found += [row for mean, row in entries if mean == best]
    return found
