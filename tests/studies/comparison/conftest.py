"""Runs made by hand, a store to keep them in, and a page read back."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from PIL import Image

from bundle.output.pictures import write_panel
from bundle.tracking import sqlite_uri

_CURVES = {"train/loss": [3.0, 2.0, 1.0], "val/loss": [0.6, 0.5, 0.7]}
GRAY, GREEN = (90, 90, 90), (0, 160, 0)


class Hand:
    """Writes runs into one experiment of a store, as trainings and evaluations do."""

    def __init__(self, folder: Path, experiment: str) -> None:
        self.uri = sqlite_uri(folder)
        self.client = mlflow.MlflowClient(self.uri)
        self.experiment = experiment
        location = (folder / "artifacts" / experiment).as_uri()
        self.experiment_id = self.client.create_experiment(experiment, artifact_location=location)

    def run(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, str] | None = None, status: str = "FINISHED"
    ) -> str:
        made = self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags or {})).info
        run_id: str = made.run_id
        for key, value in {"provenance.data_fingerprint": "f00d", "provenance.git_commit": "c0de", **params}.items():
            self.client.log_param(run_id, key, value)
        if status != "RUNNING":
            self.client.set_terminated(run_id, status, made.start_time)  # it took no time, however busy the machine
        return run_id

    def training(
        self,
        name: str,
        curves: Mapping[str, list[float]] | None = None,
        tags: Any = None,
        status: str = "FINISHED",
        **p: Any,
    ) -> str:
        run_id = self.run(name, {"seed": 0, "best_by": "loss", **p}, tags, status)
        for metric, values in (_CURVES if curves is None else curves).items():
            for step, value in enumerate(values, 1):
                self.client.log_metric(run_id, metric, value, step=step)
        return run_id

    def evaluation(
        self, of: str, images: Mapping[str, float], metric: str = "rand_error", boxes: bool = True, **params: Any
    ) -> str:
        """Of the training with that id; ``images`` have values, and pictures whose cells are as light as these."""
        params = {"checkpoint": "models/model.pt", "part": "held_out", "seed": 0, **params}
        run_id = self.run("evaluation", params, {"training_run_id": of})
        self.client.log_metric(run_id, f"{params['part']}/{metric}", float(np.mean(list(images.values()))))
        text = io.StringIO()
        csv.writer(text).writerows([["image", metric], *images.items()])
        self.client.log_text(run_id, text.getvalue(), "images.csv")
        for image, value in images.items():
            self.picture(run_id, f"{image.replace('/', '_')}_0001.png", lightness(value), boxes)
        return run_id

    def picture(self, run_id: str, name: str, light: int, boxes: bool = True, classes: tuple[str, ...] = ()) -> None:
        """Three steps of 40 px on white: image gray, truth green, cells found of that lightness."""
        array = np.full((60, 150, 3), 255, np.uint8)
        where = {"image": (5, 10, 45, 50), "truth: 2 cells": (55, 10, 95, 50), "found: 3 cells": (105, 10, 145, 50)}
        for (left, top, right, bottom), colour in zip(where.values(), (GRAY, GREEN, (light,) * 3), strict=True):
            array[top:bottom, left:right] = colour
        folder = Path(self.uri.removeprefix("sqlite:///")).parent / "drawn"
        folder.mkdir(exist_ok=True)
        if boxes:
            write_panel(folder / name, array, where, classes)
        else:
            Image.fromarray(array).save(folder / name)
        self.client.log_artifact(run_id, folder / name, "pictures")
        shutil.rmtree(folder)


def lightness(value: float) -> int:
    return round(200 * value)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty store; making its tables takes seconds, so it is made once and copied."""
    folder = tmp_path_factory.mktemp("empty")
    mlflow.MlflowClient(sqlite_uri(folder)).search_experiments()
    return folder


@pytest.fixture
def hand(database: Path, tmp_path: Path) -> Hand:
    shutil.copytree(database, tmp_path / "store")
    return Hand(tmp_path / "store", "cells")
