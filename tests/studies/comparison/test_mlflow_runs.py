"""What is read from a store, and what is said when there is nothing to read."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest

from bundle.report import main
from bundle.studies.comparison import write_report
from bundle.studies.comparison.mlflow_runs import RunStore, choose
from bundle.tracking import sqlite_uri


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    uri = sqlite_uri(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere/mlflow\.db; train first"):
        RunStore(uri)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "mlflow.db").write_text("nothing of the kind " * 100)
    with pytest.raises(ValueError, match="is no MLflow store"):
        RunStore(sqlite_uri(tmp_path))


def test_other_kinds_of_stores(tmp_path):
    with pytest.raises(ValueError, match=r"tracking_uri must begin with sqlite:///, http://, https://, got 'mlruns'"):
        RunStore("mlruns")


def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ConnectionError, match="does not answer"):
        RunStore(uri)


def test_an_empty_store(database, tmp_path):
    with pytest.raises(ValueError, match="has no runs: train first"):
        write_report(sqlite_uri(database), output=tmp_path)


def test_an_experiment_in_which_cells_were_chosen_and_no_more(hand, tmp_path):
    hand.run("choosing", {"part": "validation", "checkpoint": "models/model.pt", "chooses": "cells"})
    with pytest.raises(ValueError, match="has no runs: train first"):
        write_report(hand.uri, output=tmp_path)


def test_unknown_names_bring_the_nearest(hand, tmp_path):
    hand.training("narrow")
    hand.training("wide")
    for options, message in (
        ({"experiment": "cell"}, "experiment 'cell' has no runs.*did you mean cells?"),
        ({"experiment": "nuclei"}, "known are cells"),
        ({"runs": ["wid"]}, "no run is called 'wid': did you mean wide?"),
        ({"runs": ["wide", "zebra"]}, "no run is called 'zebra': known are narrow, wide"),
        ({"metric": "los"}, "metric 'los' was not measured: did you mean loss?"),
        ({"images": -1}, "images must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            write_report(hand.uri, output=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_command_line_says_errors_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^error: tracking_uri"):
        main(["--tracking_uri", sqlite_uri(tmp_path), "--output", str(tmp_path)])


def test_reading_leaves_the_store_as_it_was(hand, tmp_path):
    hand.evaluation(hand.training("a"), {"x": 0.5})

    def content() -> dict[Path, str]:
        files = [path for path in Path(hand.uri.removeprefix("sqlite:///")).parent.rglob("*") if path.is_file()]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = content()
    write_report(hand.uri, output=tmp_path / "out")
    assert content() == before


def test_the_last_value_of_a_step_counts_and_only_numbers_do(hand):
    run_id = hand.training("a", {})
    for time, (step, value) in enumerate([(2, 5.0), (1, 1.0), (2, 4.0), (3, float("nan")), (4, float("inf"))], 1):
        hand.client.log_metric(run_id, "val/loss", value, timestamp=time, step=step)
    store = RunStore(hand.uri)
    steps, values = store.history(store.runs("cells")[0], "val/loss")
    assert (steps.tolist(), values.tolist()) == ([1, 2], [1.0, 4.0])


def test_a_resumed_run_has_the_parameters_it_went_on_with(hand):
    hand.training("a", tags={"resumed.max_epochs": "9"}, max_epochs=5)
    assert RunStore(hand.uri).runs("cells")[0].params["max_epochs"] == "9"


def test_the_picture_of_the_highest_epoch(hand):
    run_id = hand.training("a")
    for name in ("t_1_0005.png", "t_1_0010.png", "t_2_0005.png", "notes.png"):
        hand.picture(run_id, name, 100)
    store = RunStore(hand.uri)
    (run,) = store.runs("cells")
    assert store.pictures(run) == {"t_1": "pictures/t_1_0010.png", "t_2": "pictures/t_2_0005.png"}
    assert store.images(run) == {}
    assert store.artifact(run, "pictures/t_9_0001.png") is None


def test_chosen_trainings_bring_their_evaluations_and_parents_their_children(hand):
    wide = hand.training("wide")
    sweep = hand.training("sweep", {})
    inside = hand.training("inside", tags={"mlflow.parentRunId": sweep})
    hand.evaluation(wide, {"x": 0.5})
    hand.evaluation(inside, {"x": 0.6})
    runs = RunStore(hand.uri).runs("cells")
    assert choose(runs, None) == runs
    for names, expected in (
        (["wide"], ["wide", "evaluation"]),
        (["sweep"], ["sweep", "inside", "evaluation"]),
        ([inside], ["inside", "evaluation"]),
    ):
        assert sorted(run.name for run in choose(runs, names)) == sorted(expected)


def test_an_evaluation_of_before_the_tag_is_found_by_its_checkpoint(hand):
    hand.training("wide")
    hand.training("twice")
    hand.training("twice")
    tagged = hand.training("opened", tags={"opened_as": "new-1"})
    for name in ("wide", "twice", "unknown"):
        hand.run(f"of {name}", {"part": "all", "checkpoint": f"runs/{name}/best.pt"})
    hand.run("of opened", {"part": "all", "checkpoint": "models/model.pt"}, {"training_run_id": "new-1"})
    runs = RunStore(hand.uri).runs("cells")
    found = {run.name: run.training(runs) for run in runs if run.part is not None}
    assert {name: training and training.name for name, training in found.items()} == {
        "of wide": "wide",
        "of twice": None,
        "of unknown": None,
        "of opened": "opened",
    }
    assert found["of opened"] is not None
    assert found["of opened"].run_id == tagged
