"""Trainings in processes of their own, forked from one that has imported everything, for that takes longer."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import mlflow
import monai.bundle
import numpy as np
import torch

from bundle.model import checkpoints
from bundle.tracking import sqlite_uri
from bundle.training import panels
from tests.conftest import ROOT, TINY
from tests.warm import log_to


def as_a_command(log: Path, work: Callable[[], object]) -> None:
    """Do what a command line does, and end as it ends; what it says goes into a file."""
    log_to(log)
    torch.set_num_threads(1)
    sys.argv = ["command"]
    try:
        work()
    except Exception:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.exit(1)


def train(log: Path, options: dict[str, Any], prepare: Callable[[], None] | None, plain: bool) -> None:
    """What a process does: the command line's training, with whatever ``prepare`` changes.

    Args:
        plain: pictures are gray ones: drawing them takes half of the time.
    """

    def work() -> None:
        if plain:
            panels.panel_and_boxes = lambda *_, **__: (np.zeros((8, 8, 3), np.uint8), {})  # type: ignore[assignment]
        if prepare is not None:
            prepare()
        configs = {"config_file": str(ROOT / "configs/train.json"), "logging_file": str(ROOT / "configs/logging.conf")}
        monai.bundle.run("training", **configs, bundle_root=str(ROOT), **options)

    as_a_command(log, work)


class Bench:
    """Starts trainings, and compares what is left of them with one that nobody interrupted.

    Args:
        folder: of all that they write.
        cells: data set.
        context: of :func:`tests.warm.warm`.
        plain: see :func:`train`.
        options: of ``train.json``.
    """

    def __init__(
        self, folder: Path, cells: Path, context: ForkServerContext, plain: bool = False, **options: Any
    ) -> None:
        self.folder, self.context, self.plain = folder, context, plain
        self.options = {**TINY, "dataset_dir": str(cells), "output_dir": str(folder / "runs"), **options}

    def start(self, name: str, prepare: Callable[[], None] | None = None, **options: Any) -> Any:
        model = str(self.folder / f"{name}.pt")
        wanted = {**self.options, "model_file": model, "run_name": name, **options}
        (self.folder / f"{name}.log").unlink(missing_ok=True)
        process = self.context.Process(target=train, args=(self.folder / f"{name}.log", wanted, prepare, self.plain))
        process.start()
        return process

    def run(self, name: str, prepare: Callable[[], None] | None = None, **options: Any) -> int:
        process = self.start(name, prepare, **options)
        process.join()
        return int(process.exitcode)

    def require_readable(self, name: str, folder: Path | None = None) -> None:
        for file in [*(folder or self.folder / "runs" / name).glob("*.pt"), *self.folder.glob(f"{name}.pt")]:
            checkpoints.read(file)

    def require_same(self, name: str, whole: str, folder: Path | None = None) -> None:
        found, expected = folder or self.folder / "runs" / name, self.folder / "runs" / whole
        for file in ("last.pt", "best.pt"):
            require_equal(checkpoints.read(found / file), checkpoints.read(expected / file))
        require_equal(checkpoints.read(self.folder / f"{name}.pt"), checkpoints.read(self.folder / f"{whole}.pt"))
        assert history(found) == history(expected)
        assert not list(found.glob(".*.part")) + list(self.folder.glob(".*.part"))

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def mlflow_status(self, name: str) -> list[str]:
        """Of all MLflow runs of this name, of which there should be one."""
        client = mlflow.MlflowClient(sqlite_uri(self.folder / "runs"))
        found = [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])]
        return [run.info.status for run in found if run.info.run_name == name]


def require_equal(found: Any, expected: Any) -> None:
    """Bit for bit."""
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert found.contiguous().numpy().tobytes() == expected.contiguous().numpy().tobytes()
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            require_equal(found[key], expected[key])
    else:
        assert found == expected


def history(run_dir: Path) -> list[tuple[str, ...]]:
    """All values but times, which no two runs share."""
    with (run_dir / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (row["iteration"], row["epoch"], row["name"], row["value"])
        for row in rows
        if not row["name"].startswith("train/seconds_")
    ]
