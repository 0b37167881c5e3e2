"""What a study measured: every value, and what follows from them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bundle.metrics.selection import lower_is_better
from bundle.studies.definition import Grid, Run, Study
from bundle.studies.places import Places
from bundle.tracking import earlier_run_id

__all__ = ["Row", "Summary", "collect", "contrast", "read_rows", "recorded_runs", "summarise", "with_recorded"]


class Row(NamedTuple):
    """One value of one evaluation.

    ``minutes`` are those that the training's steps took, without start and validations; ``run_id`` is the evaluation's
    in MLflow. NaN where a metric has no value.
    """

    variant: str
    seed: int
    fold: int | None
    part: str
    averaging: str
    metric: str
    value: float
    minutes: float
    run_id: str


class Summary(NamedTuple):
    """One metric of one variant over its repeats, and what it differs from by.

    ``against`` names that, ``<variant>/<averaging>``; ``difference`` is the mean over the ``pairs`` of equal seed and
    fold, ``worse`` in how many of them the variant was worse. Standard deviations are those of a sample; NaN, where
    there is none.
    """

    variant: str
    averaging: str
    metric: str
    n: int
    mean: float
    std: float
    min: float
    max: float
    against: str
    pairs: int
    difference: float
    difference_std: float
    worse: int


def collect(study: Study, places: Places) -> list[Row]:
    """Read the values of all evaluations that are there, also of seeds and parts that are not asked for now."""
    rows: list[Row] = []
    for run in recorded_runs(places):
        folders = (places.run_dir(run) / "evaluation").glob("*-*")
        minutes = _minutes(places.run_dir(run) / "history.csv")
        for folder in sorted(folder for folder in folders if (folder / "summary.csv").is_file()):
            with open(folder / "summary.csv", newline="", encoding="utf-8") as stream:
                values = {line["metric"]: line["value"] for line in csv.DictReader(stream)}
            part, averaging = folder.name.split("-", 1)
            run_id = earlier_run_id(folder) or ""
            for metric in study.metrics:
                value = _number(values.get(metric, ""))
                rows.append(Row(run.variant, run.seed, run.fold, part, averaging, metric, value, minutes, run_id))
    order = list(study.variants)
    return sorted(
        (row for row in rows if row.variant in order),
        key=lambda row: (order.index(row.variant), row.seed, row.fold or 0, row.part, row.averaging),
    )


def recorded_runs(places: Places) -> list[Run]:
    """All trainings that were begun, also of seeds and variants that are not asked for now."""
    files = sorted((places.folder / "records").glob("*.json"))
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return [Run(places.study, record["variant"], record["seed"], record["fold"]) for record in records]


def with_recorded(study: Study, places: Places) -> Study:
    """The study with those values of its grid that earlier commands gave it."""
    if study.grid is None:
        return study
    names = dict.fromkeys(run.variant for run in recorded_runs(places) if run.variant not in study.variants)
    values = [value for name in names if (value := Grid.value_of(name)) is not None]
    return study.with_values(values) if values else study


def read_rows(path: Path) -> list[Row]:
    """Read ``study.csv``.

    Raises:
        FileNotFoundError: when it is not there.
        ValueError: when its columns are others.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run the study first, or name its --output_dir")
    with open(path, newline="", encoding="utf-8") as stream:
        head, *lines = csv.reader(stream)
    if tuple(head) != Row._fields:
        raise ValueError(f"{path} must have the columns {', '.join(Row._fields)}, got {', '.join(head)}")
    return [
        Row(
            variant, int(seed), int(fold) if fold else None, part, averaging, metric, _number(value), _number(time), run
        )
        for variant, seed, fold, part, averaging, metric, value, time, run in lines
    ]


def contrast(study: Study, variant: str, averaging: str) -> tuple[str, str] | None:
    """What a variant is compared with: the reference of the same averaging; another averaging of it, with its first."""
    if variant != study.reference:
        return study.reference, averaging
    first = study.reference_averaging[0]
    return None if averaging == first else (variant, first)


def summarise(study: Study, rows: Sequence[Row]) -> list[Summary]:
    """Mean, spread and paired differences of the study's part, in the order of variants, averaging and metrics."""
    values: dict[tuple[str, str, str], dict[tuple[int, int | None], float]] = {}
    for row in rows:
        if row.part == study.part and not math.isnan(row.value):
            values.setdefault((row.variant, row.averaging, row.metric), {})[row.seed, row.fold] = row.value
    found = []
    for variant in study.variants:
        for averaging in study.reference_averaging:
            for metric in study.metrics:
                own = values.get((variant, averaging, metric))
                if own is None:
                    continue
                against = contrast(study, variant, averaging)
                others = values.get((*against, metric), {}) if against else {}
                differences = np.array([own[repeat] - others[repeat] for repeat in own if repeat in others])
                worse = differences > 0 if lower_is_better(metric) else differences < 0
                spread = np.array(list(own.values()))
                found.append(
                    Summary(
                        *(variant, averaging, metric, len(spread)),
                        *(float(spread.mean()), _std(spread), float(spread.min()), float(spread.max())),
                        *("/".join(against) if against else "", len(differences)),
                        *(float(differences.mean()) if len(differences) else math.nan, _std(differences)),
                        int(worse.sum()),
                    )
                )
    return found


def _std(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _number(text: str) -> float:
    return float(text) if text else math.nan


def _minutes(history: Path) -> float:
    if not history.is_file():
        return math.nan
    with open(history, newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["value"]]  # a run may be writing its last one
        steps = [float(row["value"]) for row in rows if row["name"].startswith("train/seconds_")]
    return round(sum(steps) / 60, 3) if steps else math.nan
