"""Source, description and data set, as MLflow shows them."""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow
import pytest

from bundle.tracking import sqlite_uri
from bundle.tracking.__main__ import main
from bundle.tracking.origin import DESCRIPTION, data_set, described


def test_source_and_description_are_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    files = "['configs/train.json','configs/experiments/em.json']"
    line = ["/env/bin/python", "-m", "monai.bundle", "run", "training", "--config_file", files]
    monkeypatch.setattr(sys, "orig_argv", [*line, "--tracking_uri", "http://me:secret@127.0.0.1:5000"])
    told = described()
    assert told["mlflow.source.name"] == "train.json + em.json"
    assert told[DESCRIPTION].startswith("Made by\n\n    python -m monai.bundle run training --config_file")
    assert "secret" not in str(told)


def test_the_data_set_is_a_folder_or_what_makes_it() -> None:
    found = data_set({"dataset_dir": "data/isbi2012"}, "f00d" * 20, "training")
    assert (found.dataset.name, found.dataset.digest) == ("isbi2012", "f00d" * 9)
    assert data_set({"dataset_dir": {"_target_": "a.make"}}, "f00d", "evaluation").dataset.name == "a.make"
    assert data_set({}, None, "training") is None


def test_addresses_of_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = sqlite_uri(tmp_path)
    with pytest.raises(SystemExit, match=r"error: .*there is no .*mlflow.db; train first"):
        main(["--tracking_uri", uri])
    client = mlflow.MlflowClient(uri)
    for name, when in (("newer", 2), ("older", 1)):
        client.create_run(client.create_experiment(name), start_time=when)
    main(["--tracking_uri", uri])
    newest, _ = capsys.readouterr().out.splitlines()
    assert newest == "newer: http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
