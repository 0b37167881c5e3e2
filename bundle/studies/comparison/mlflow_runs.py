"""Runs as an MLflow store holds them; nothing is ever written there."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from bundle.console import did_you_mean
from bundle.model.renamed import translated
from bundle.tracking.config import flat_config
from bundle.tracking.lineage import TRAINING_TAG
from bundle.tracking.mlflow_run import OPENED_AS
from bundle.tracking.mlflow_store import RESUMED, open_store

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one for every file

#: before the path of an entry of the executed config
CONFIG = "config."
#: MLflow gives no more in one answer, the newest first
_MOST_RUNS = 50_000
#: MLflow's SQL stores keep infinity as the largest double
_INFINITE = 1e300


@dataclass(frozen=True)
class Run:
    """One run; of a resumed one the parameters it went on with. Times are seconds since 1970.

    ``params`` hold the executed config, too, as ``config.<path>``.
    """

    run_id: str
    name: str
    status: str
    start: float
    end: float | None
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]

    @property
    def finished(self) -> bool:
        return self.status == "FINISHED"

    @property
    def part(self) -> str | None:
        """The part of the data that an evaluation measured; None for a training."""
        return self.params.get("part") if "checkpoint" in self.params else None

    @property
    def chooses(self) -> bool:
        """Whether it tried settings of the cells, and is neither a training nor an evaluation."""
        return not {"chooses", f"{CONFIG}choose_by"}.isdisjoint(self.params)

    @property
    def parent_id(self) -> str | None:
        return self.tags.get("mlflow.parentRunId")

    def training(self, runs: Iterable[Run]) -> Run | None:
        """Which of ``runs`` trained the checkpoint of this evaluation.

        The tag ``training_run_id`` says it; runs of before that tag are found by ``checkpoint``, ``runs/NAME/best.pt``,
        where one training only has that name.
        """
        wanted = self.tags.get(TRAINING_TAG)
        trainings = [run for run in runs if run.part is None]
        if wanted is not None:
            return next((run for run in trainings if wanted in (run.run_id, run.tags.get(OPENED_AS))), None)
        folder = Path(self.params.get("checkpoint", "")).parent.name
        named = [run for run in trainings if run.name == folder]
        return named[0] if len(named) == 1 else None


class RunStore:
    """An MLflow store, read only.

    Args:
        tracking_uri: ``sqlite:///<path>``, ``http://`` or ``https://``.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: as :func:`bundle.tracking.mlflow_store.open_store`.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri
        self._client, self._experiments = open_store(tracking_uri)

    @cached_property
    def _runs(self) -> dict[str, list[Run]]:
        found = {}
        for experiment in self._experiments:
            runs = map(_run, self._client.search_runs([experiment.experiment_id], max_results=_MOST_RUNS))
            found[experiment.name] = [run for run in runs if not run.chooses]
        return found

    def experiments(self) -> list[str]:
        """Names of the experiments that have trainings or evaluations, the one with the newest run first."""
        return sorted((n for n, runs in self._runs.items() if runs), key=lambda n: -max(r.start for r in self._runs[n]))

    def runs(self, experiment: str) -> list[Run]:
        """All trainings and evaluations of an experiment, the oldest first.

        Raises:
            ValueError: for an unknown experiment, or one without runs.
        """
        known = self.experiments()
        if experiment not in known:
            hint = did_you_mean(experiment, known) if known else "the store has no runs"
            raise ValueError(f"experiment {experiment!r} has no runs in {self.tracking_uri}: {hint}")
        runs = [self._with_config(run) for run in self._runs[experiment]]
        return sorted(runs, key=lambda run: (run.start, run.name))

    def history(self, run: Run, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps (N) int and finite values (N) float64 of a metric, in order; of a step logged twice the later value."""
        entries = self._client.get_metric_history(run.run_id, metric)
        last = {entry.step: entry.value for entry in sorted(entries, key=lambda entry: entry.timestamp)}
        pairs = sorted((s, v) for s, v in last.items() if np.isfinite(v) and abs(v) < _INFINITE)
        return np.array([step for step, _ in pairs], dtype=int), np.array([value for _, value in pairs], dtype=float)

    def images(self, run: Run) -> dict[str, dict[str, float]]:
        """``images.csv`` of an evaluation: image -> metric -> value; empty where there is none."""
        content = self.artifact(run, "images.csv")
        if content is None:
            return {}
        rows = csv.DictReader(content.decode("utf-8").splitlines())
        return {row.pop("image"): {name: float(text) for name, text in row.items() if text} for row in rows}

    def pictures(self, run: Run) -> dict[str, str]:
        """Artifacts ``pictures/<image>_<epoch>.png``: name of the image -> its picture of the highest epoch."""
        try:
            files = [file.path for file in self._client.list_artifacts(run.run_id, "pictures")]
        except Exception:  # artifacts that were moved or deleted are missing, whatever the kind of store calls that
            files = []
        found: dict[str, tuple[int, str]] = {}
        for path in files:
            match = re.fullmatch(r"(.*)_(\d+)\.png", Path(path).name)
            if match:
                found[match[1]] = max(found.get(match[1], (-1, "")), (int(match[2]), path))
        return {image: path for image, (_, path) in found.items()}

    def artifact(self, run: Run, path: str) -> bytes | None:
        """Content of an artifact; None where there is no such file any more."""
        with TemporaryDirectory() as folder:
            try:
                return Path(self._client.download_artifacts(run.run_id, path, folder)).read_bytes()
            except Exception:  # as in pictures
                return None

    def _with_config(self, run: Run) -> Run:
        """Earlier versions logged every entry of the config as a parameter, later ones only those that were changed."""
        content = None if f"{CONFIG}tracker._target_" in run.params else self.artifact(run, "config.json")
        try:
            config = json.loads(content or b"{}")
            told = {f"{CONFIG}{path}": text for path, text in flat_config(config) if "tracker" in config}
        except (ValueError, TypeError):
            logger.warning("config.json of run %s is damaged: settings are those of its parameters only", run.name)
            return run
        return replace(run, params=run.params | told)


def choose(runs: Sequence[Run], names: Sequence[str] | None) -> list[Run]:
    """Of an experiment's runs those with these names or ids, with the evaluations of trainings and the children of
    parents; None takes all.

    Raises:
        ValueError: for a name that no run has; the message has the nearest.
    """
    if not names:
        return list(runs)
    unknown = [name for name in names if all(name not in (run.name, run.run_id) for run in runs)]
    if unknown:
        raise ValueError(f"no run is called {unknown[0]!r}: {did_you_mean(unknown[0], [run.name for run in runs])}")
    chosen = {run.run_id for run in runs if run.name in names or run.run_id in names}
    before = 0
    while len(chosen) > before:  # children of children too
        before = len(chosen)
        for run in runs:
            training = run.training(runs) if run.part is not None else None
            if run.parent_id in chosen or (training is not None and training.run_id in chosen):
                chosen.add(run.run_id)
    return [run for run in runs if run.run_id in chosen]


def grouped(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> dict[Any, list[_Item]]:
    """Key -> the items that have it, in their order."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _current(params: dict[str, str]) -> dict[str, str]:
    """Parameters by today's names; of an earlier version "null" is the None that is logged today."""
    return {
        name: "None" if value is None or (value == "null" and name not in params) else value
        for name, value in translated("param", params).items()
    }


def _run(entry: Any) -> Run:
    resumed = {k.removeprefix(RESUMED): v for k, v in entry.data.tags.items() if k.startswith(RESUMED)}
    return Run(
        run_id=entry.info.run_id,
        name=entry.info.run_name or entry.info.run_id[:8],
        status=entry.info.status,
        start=(entry.info.start_time or 0) / 1000,
        end=None if entry.info.end_time is None else entry.info.end_time / 1000,
        params=_current({**entry.data.params, **resumed}),
        tags=dict(entry.data.tags),
        metrics=dict(entry.data.metrics),
    )
