"""One training of a study and its evaluations: command lines, folders, record, and what was measured."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from monai.bundle import ConfigParser

from bundle.atomic import write_json
from bundle.studies.commands import Command, RunFolder, overlap
from bundle.studies.definition import Grid, Study
from bundle.tracking import earlier_run_id, sqlite_uri
from bundle.tracking.lineage import TRAINING_TAG


class Row(NamedTuple):
    """One value of one evaluation.

    ``minutes`` are those that the training's steps took, without start and validations; ``run_id`` is the evaluation's
    in MLflow. NaN where a metric has no value.
    """

    variant: str
    seed: int
    fold: int | None
    part: str
    tta: str
    metric: str
    value: float
    minutes: float
    run_id: str


@dataclass(frozen=True)
class StudyPaths:
    """Where a study finds its data and leaves its runs.

    Attributes:
        study: its name.
        output_dir: folder of all runs, as in a training; a run is in ``output_dir/<run name>``.
        dataset_dir: None takes what the config says.
        tracking_uri: None takes the store in ``output_dir``.
    """

    study: str
    output_dir: Path
    dataset_dir: str | None = None
    tracking_uri: str | None = None

    @property
    def folder(self) -> Path:
        """Of the study itself: tables, chart, logs, and the records of its trials."""
        return self.output_dir / self.study

    @property
    def table(self) -> Path:
        """Every value measured, from which all else of the report is made."""
        return self.folder / "study.csv"

    @property
    def store(self) -> str:
        """URI of the MLflow store."""
        return self.tracking_uri or sqlite_uri(self.output_dir)


@dataclass(frozen=True, eq=False)
class Trial:
    """A variant trained with one seed on one fold.

    A training is complete when its ``model.pt`` is there, an evaluation when its ``summary.csv`` is.
    """

    study: Study
    paths: StudyPaths
    variant: str
    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """Of its folder and in MLflow: ``em_ablation-no_elastic-s0``, with folds ``dic_ablation-no_elastic-f2-s0``."""
        fold = "" if self.fold is None else f"-f{self.fold}"
        return f"{self.study.name}-{self.variant}{fold}-s{self.seed}"

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.paths.output_dir, self.name)

    @property
    def log(self) -> Path:
        """What its commands printed."""
        return self.paths.folder / "logs" / f"{self.name}.log"

    @property
    def record_file(self) -> Path:
        """The settings with which it was begun."""
        return self.paths.folder / "records" / f"{self.name}.json"

    def record(self) -> dict[str, Any] | None:
        """What :attr:`record_file` says; None when it was not begun by the study."""
        return json.loads(self.record_file.read_text("utf-8")) if self.record_file.is_file() else None

    def keep(self, record: dict[str, Any]) -> None:
        """Write the record; evaluations of other parts that an earlier one tells of stay."""
        evaluations = {**(self.record() or {}).get("evaluations", {}), **record["evaluations"]}
        write_json(self.record_file, {**record, "evaluations": evaluations})

    def evaluation_dir(self, tta: str) -> Path:
        return self.run.path / "evaluation" / f"{self.study.part}-{tta}"

    def training(self, parent: str | None = None, resume: bool = False) -> Command:
        """The command of the training; ``parent`` is the id of the study's run in MLflow."""
        options = {**self._options(), "tracker#tags": self._tags("training", parent)}
        return self.run.training(self.study.files_of(self.variant), options, resume)

    def evaluation(self, tta: str, parent: str | None = None) -> Command:
        """The command of one evaluation; ``parent`` is the id of the training's run in MLflow.

        Options that concern an entry which the evaluation's files set (``network_def``: the checkpoint tells what the
        network is; ``labelled#labels`` of gold truth) are left out.
        """
        files = self.study.evaluation_files
        entries = {entry for file in files for entry in ConfigParser.load_config_file(file)}
        inherited = {
            name: value for name, value in self._options().items() if not any(overlap(name, entry) for entry in entries)
        }
        options = inherited | {
            "output_dir": str(self.paths.output_dir),
            "checkpoint": str(self.run.checkpoint),
            "part": self.study.part,
            "tta": tta,
            "evaluation_dir": str(self.evaluation_dir(tta)),
            "tracker#run_name": f"{self.name}-{self.study.part}-{tta}",
            "tracker#tags": self._tags("evaluation", parent, tta=tta),
        }
        return Command("evaluating", (*self.study.files_of(self.variant), *files), options)

    def missing(self, parent: str | None = None) -> Iterator[tuple[str, Command]]:
        """What is left to be done, each with its title; looked up one by one, when what comes before it is done."""
        if not self.run.complete:
            resume = self.run.begun
            yield f"training{' resumes' if resume else ''}", self.training(parent, resume)
        for tta in self.study.tta_of(self.variant):
            if not (self.evaluation_dir(tta) / "summary.csv").is_file():
                title = f"evaluation, {self.study.part}, tta {tta}"
                yield title, self.evaluation(tta, earlier_run_id(self.run.path))

    def rows(self) -> Iterator[Row]:
        """The values of all its evaluations that are there, also of parts that are not asked for now."""
        minutes = _minutes(self.run.path / "history.csv")
        for file in sorted(self.run.path.glob("evaluation/*-*/summary.csv")):
            part, tta = file.parent.name.split("-", 1)
            with open(file, newline="", encoding="utf-8") as stream:
                values = {line["metric"]: line["value"] for line in csv.DictReader(stream)}
            for metric in self.study.metrics:
                value = float(values.get(metric) or math.nan)
                run_id = earlier_run_id(file.parent) or ""
                yield Row(self.variant, self.seed, self.fold, part, tta, metric, value, minutes, run_id)

    def _options(self) -> dict[str, Any]:
        own = {"dataset_dir": self.paths.dataset_dir, "tracking_uri": self.paths.tracking_uri, "fold": self.fold}
        given = {name: value for name, value in own.items() if value is not None}
        return {
            **self.study.settings_of(self.variant),
            **{"seed": self.seed, "experiment_name": self.study.name, **given},
        }

    def _tags(self, stage: str, parent: str | None, **more: str) -> dict[str, str]:
        fold = {} if self.fold is None else {"fold": str(self.fold)}
        tags = {"study": self.study.name, "variant": self.variant, "seed": str(self.seed), **fold, "stage": stage}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
            if stage == "evaluation":
                tags[TRAINING_TAG] = parent
        return {**tags, **more}


def recorded_trials(study: Study, paths: StudyPaths) -> list[Trial]:
    """All that were begun, also of seeds that are not asked for now, in the order of the study's variants."""
    order = list(study.variants)
    found = [Trial(study, paths, *begun) for begun in _recorded(paths) if begun[0] in order]
    return sorted(found, key=lambda trial: (order.index(trial.variant), trial.seed, trial.fold or 0))


def with_recorded(study: Study, paths: StudyPaths) -> Study:
    """The study with those values of its grid that earlier commands gave it."""
    if study.grid is None:
        return study
    names = dict.fromkeys(variant for variant, _, _ in _recorded(paths) if variant not in study.variants)
    values = [value for name in names if (value := Grid.value_of(name)) is not None]
    return study.with_values(values) if values else study


def _recorded(paths: StudyPaths) -> list[tuple[str, int, int | None]]:
    records = [json.loads(file.read_text("utf-8")) for file in sorted(paths.folder.glob("records/*.json"))]
    return [(record["variant"], record["seed"], record["fold"]) for record in records]


def _minutes(history: Path) -> float:
    """Of a training's steps; NaN without any."""
    if not history.is_file():
        return math.nan
    with open(history, newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["value"]]  # a run may be writing its last one
    steps = [float(row["value"]) for row in rows if row["name"].startswith("train/seconds_")]
    return round(sum(steps) / 60, 3) if steps else math.nan
