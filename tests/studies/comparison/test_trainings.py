"""The report of real trainings and evaluations."""

from __future__ import annotations

import mlflow

from bundle.studies.comparison import write_report
from bundle.tracking import sqlite_uri
from tests.studies.comparison.reading import images, tables, text, tree


def test_the_docs_sequence(workflow, tmp_path):
    """Training, choosing, evaluating before and after: short names, the experiment's metric first."""
    workflow(run_name="honest", held_out=1, validation=1, max_epochs=1, best_by="seg").run()
    options = {"held_out": 1, "validation": 1, "best_by": "seg", "checkpoint": str(tmp_path / "runs/honest/best.pt")}
    choice = {"evaluation_dir": str(tmp_path / "choice"), "cells#threshold": "auto"}
    workflow("evaluate.json", "choose_cells.json", run_id="choosing", **options, **choice).run()
    for name, overlays in (("before", ()), ("after", (str(tmp_path / "choice" / "cells.json"),))):
        evaluation = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / name), "part": "held_out"}
        several = {"cells#split_by": "distance", "cells#connectivity": 2, "cells#close_gaps": 3} if overlays else {}
        workflow("evaluate.json", *overlays, **options, **evaluation, **several).run()

    uri = sqlite_uri(tmp_path / "runs")
    page = write_report(uri, output=tmp_path / "report")
    found = tables(page)
    assert set(found) == {"Trainings", "Evaluations on held_out"}  # choosing measured nothing
    measured = found["Evaluations on held_out"]
    assert {line["run"] for line in measured} == {"1 honest (1)", "1 honest (2)"}
    assert {line["evaluation.cells.split_by"] for line in measured} == {"None", "distance"}
    assert [line["seg"] for line in measured] == sorted((line["seg"] for line in measured), reverse=True)
    assert text(tree(page)).count("Sorted by seg") == 2
    # of its config a run has as parameters what a person changed; the rest is read from config.json
    (experiment,) = (e for e in mlflow.MlflowClient(uri).search_experiments() if e.name != "Default")
    runs = mlflow.MlflowClient(uri).search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in runs} == {"honest", "honest-choosing", "honest-held_out-none"}
    for run in runs:
        assert len([name for name in run.data.params if name.startswith("config.")]) < 16
        assert "config.validation" in run.data.params
        (data,) = run.inputs.dataset_inputs
        assert run.data.params["provenance.data_fingerprint"].startswith(data.dataset.digest)


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
