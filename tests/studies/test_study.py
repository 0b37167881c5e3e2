"""A study by the bundle's own command line: interrupted, repeated, and what MLflow has of it."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import mlflow
import pytest

from bundle.studies import __main__ as study_command
from bundle.studies import checks, parent_run, runner
from bundle.studies.__main__ import main
from bundle.studies.summary import read_values


@pytest.mark.nightly
def test_a_study_from_end_to_end(study_file, cells, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runs = tmp_path / "runs"
    command = ["--study", str(study_file(seeds=[3])), "--dataset_dir", str(cells), "--output_dir", str(runs)]
    store = mlflow.MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")

    def interrupt():
        while not (runs / "tiny-all-s3" / "last.pt").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    # enough epochs to be in the middle of them; the other variant has none of its own yet
    threading.Thread(target=interrupt, daemon=True).start()
    long = ["--max_epochs", "20", "--val_interval", "20"]
    assert main([*command, *long]) == 130
    (parent,) = [run for run in all_runs(store) if run.info.run_name == "tiny"]
    assert parent.info.status == "KILLED"
    assert not (runs / "tiny-all-s3" / "model.pt").exists()

    assert main([*command, *long, "--jobs", "2"]) == 0
    printed = capfd.readouterr().out
    assert "[1/2] tiny-all-s3: training resumes" in printed

    found = {run.info.run_name: run for run in all_runs(store)}
    trainings = ["tiny-all-s3", "tiny-border-s3"]
    evaluations = [f"{name}-held_out-none" for name in trainings]
    assert sorted(found) == sorted(["tiny", *trainings, *evaluations])  # what was interrupted went on in its run
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    assert found["tiny"].info.run_id == parent.info.run_id
    for training, evaluation in zip(trainings, evaluations, strict=True):
        assert found[training].data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert found[evaluation].data.tags["mlflow.parentRunId"] == found[training].info.run_id
        assert found[training].data.tags["variant"] == found[evaluation].data.tags["variant"]
        losses = store.get_metric_history(found[training].info.run_id, "train/mean_loss")
        assert len(losses) == 20
    assert found["tiny-border-s3"].data.params["w0"] == "0.0"
    assert found["tiny"].data.params["variants.border.options.weight_map#w0".replace("#", "_")] == "0.0"
    assert found["tiny"].data.params["provenance.data_fingerprint"]
    kind = store.get_experiment(found["tiny"].info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    assert "| full recipe | none | 1 |" in found["tiny"].data.tags["mlflow.note.content"]
    files = {file.path for file in store.list_artifacts(parent.info.run_id)}
    assert {"study.csv", "summary.csv", "summary.md", "chart.png", "chart.svg", "config.json"} <= files

    rows = read_values(runs / "tiny" / "study.csv")
    assert len(rows) == 4
    for row in rows.itertuples():  # the table says what MLflow says
        run = store.get_run(row.run_id)
        assert run.info.run_name == f"tiny-{row.variant}-s3-held_out-none"
        assert run.data.metrics[f"held_out/{row.metric}"] == pytest.approx(row.value, rel=1e-5)
        assert row.minutes > 0

    before = {path: path.stat().st_mtime_ns for name in trainings for path in (runs / name).rglob("*")}
    assert main([*command, *long]) == 0
    assert {path: path.stat().st_mtime_ns for name in trainings for path in (runs / name).rglob("*")} == before
    assert len(all_runs(store)) == 5


def test_a_run_is_ended_though_its_report_cannot_be_written(study_file, tmp_path, monkeypatch, capsys):
    ended = []

    def full(*_):
        raise OSError("disk full")

    parent, record = SimpleNamespace(run_id="id", end=ended.append), {"data": "f00d", "evaluations": {}}
    monkeypatch.setattr(checks, "check_trials", lambda _, trials: {trial.name: record for trial in trials})
    monkeypatch.setattr(parent_run, "ParentRun", lambda *_: parent)
    monkeypatch.setattr(runner, "run_trials", lambda *_, **__: ([], []))
    monkeypatch.setattr(study_command, "_report", full)
    command = ["--study", str(study_file()), "--output_dir", str(tmp_path), "--accept_changes"]
    assert main(command) == 2
    assert capsys.readouterr().err == "error: disk full\n"
    assert ended == ["FINISHED"]


def all_runs(store):
    (experiment,) = [each for each in store.search_experiments() if each.name != "Default"]
    assert experiment.name == "tiny"
    return store.search_runs([experiment.experiment_id])
