"""Runs of a study of the DCN that are complete, made by hand."""

from __future__ import annotations

import json

import mlflow
import pytest
import torch

from bundle.model import checkpoints
from bundle.networks import DCN
from bundle.tracking import sqlite_uri
from tests.studies.conftest import STUDY

KERNELS = {
    "config_files": ["configs/train.json", "configs/networks/dcn.json"],
    "options": {**STUDY["options"], "validation": 2},
    "grid": {"name": "kernels", "option": "network_def#kernels", "values": [[4, 8, 16], [2, 8, 16], [4, 8, 10]]},
    "variants": {"no_F3": {"label": "without F3", "options": {"network_def#branches": [True, True, False]}}},
}


@pytest.fixture
def finished(tmp_path):
    """Writes what a study leaves of a run, evaluated on ``parts``; ``network`` are arguments of its DCN."""
    runs = tmp_path / "runs"
    runs.mkdir()
    client = mlflow.MlflowClient(sqlite_uri(runs))
    experiment = client.create_experiment("tiny", artifact_location=(runs / "mlartifacts").as_uri())

    def tracked(folder):
        folder.mkdir(parents=True)
        run = client.create_run(experiment, run_name=folder.name)
        (folder / "mlflow_run_id.txt").write_text(run.info.run_id)
        return run.info.run_id

    def write(variant, seed, iou, trained_on=(), parts=("held_out",), **network):
        folder = runs / f"tiny-{variant}-s{seed}"
        run_id = tracked(folder)
        torch.manual_seed(seed)
        arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "base_channels": 2, **network}
        checkpoints.write(folder / "best.pt", DCN(**arguments).state_dict())
        (folder / "model.pt").touch()
        card = {
            "network": {"_target_": "bundle.networks.DCN", **arguments},
            "data": {"images_by": "pixels", "trained_on": dict(trained_on)},
        }
        (folder / "card.json").write_text(json.dumps(card))
        for part in parts:
            (folder / "evaluation" / f"{part}-none").mkdir(parents=True)
            (folder / "evaluation" / f"{part}-none" / "summary.csv").write_text(f"metric,value\niou,{iou}\n")
        records = runs / "tiny" / "records"
        records.mkdir(exist_ok=True)
        record = {"variant": variant, "seed": seed, "fold": None}
        (records / f"tiny-{variant}-s{seed}.json").write_text(json.dumps(record))
        return run_id

    write.parent = tracked(runs / "tiny")
    write.client = client
    return write
