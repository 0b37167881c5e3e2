"""The report of real trainings and evaluations."""

from __future__ import annotations

import mlflow

from bundle.studies.comparison import write_report
from bundle.tracking import sqlite_uri
from tests.studies.comparison.reading import images, tables


def test_real_runs(workflow, tmp_path):
    options = {"held_out": 2, "max_epochs": 1}
    for name, width in (("narrow", 2), ("wide", 3)):
        workflow(run_name=name, base_channels=width, publish="always", **options).run()
    for folder, checkpoint in (("narrow", tmp_path / "runs" / "narrow" / "best.pt"), ("wide", tmp_path / "model.pt")):
        evaluation = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / folder), "part": "held_out"}
        workflow("evaluate.json", **options, **evaluation, checkpoint=str(checkpoint)).run()
    uri = sqlite_uri(tmp_path / "runs")
    page = write_report(uri, output=tmp_path / "report")
    found = tables(page)
    assert {line["base_channels"] for line in found["Trainings"]} == {"2", "3"}
    measured = found["Evaluations on held_out"]
    # base_channels and loss tell both from one another, and are told of the checkpoint, not of the evaluation's config
    assert {line["run"].split()[1]: line["base_channels"] for line in measured} == {"narrow": "2", "wide": "3"}
    (experiment,) = [e for e in mlflow.MlflowClient(uri).search_experiments() if e.name != "Default"]
    runs = mlflow.MlflowClient(uri).search_runs([experiment.experiment_id])
    losses = {f"{run.data.metrics['held_out/loss']:.4f}" for run in runs if "held_out/loss" in run.data.metrics}
    assert {line["loss"].rstrip("*") for line in measured} == losses
    settings = set(found["Trainings"][0]) - {"run", "kept at", "time"}
    assert settings == {"base_channels", "train/loss"} | (set(measured[0]) - {"run", "base_channels"})
    shown = images(page)
    assert len(shown) == 2
    for panels in shown.values():
        assert len(panels) == 4
        assert all(picture.shape[0] > 300 and picture.std() > 5 for _, picture in panels)
