"""What an evaluation is called, and which training its network comes from."""

from __future__ import annotations

import os

import pytest

from bundle.model import TrainedNetwork
from bundle.model.card import write_card
from bundle.tracking import evaluation_folder, evaluation_name, training_tags


@pytest.fixture
def runs(tmp_path):
    """Two runs, of which the second was not tracked, and two files of other origin."""
    for name, content in (("one", b"weights of one"), ("untracked", b"weights untracked")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "best.pt").write_bytes(content)
    (tmp_path / "runs" / "one" / "mlflow_run_id.txt").write_text("id1\n")
    return tmp_path / "runs"


def test_a_checkpoint_in_the_folder_of_a_run(runs):
    assert training_tags(runs / "one" / "best.pt", runs) == {"training_run_id": "id1"}
    assert training_tags(runs / "one" / "best.pt", "elsewhere") == {"training_run_id": "id1"}
    assert training_tags(runs / "untracked" / "best.pt", runs) == {}


def test_a_copy_is_known_by_its_bytes(runs, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights of one")
    assert training_tags(tmp_path / "model.pt", runs) == {"training_run_id": "id1"}
    (tmp_path / "model.pt").write_bytes(b"weights of two")  # of the same length
    assert training_tags(tmp_path / "model.pt", runs) == {}
    assert training_tags(tmp_path / "missing.pt", runs) == {}


def test_of_equal_checkpoints_the_newest(runs, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights of one")
    (runs / "two").mkdir()
    (runs / "two" / "last.pt").write_bytes(b"weights of one")
    (runs / "two" / "mlflow_run_id.txt").write_text("id2\n")
    for name, time in (("one/best.pt", 1000), ("two/last.pt", 2000)):
        os.utime(runs / name, (time, time))
    assert training_tags(tmp_path / "model.pt", runs) == {"training_run_id": "id2"}
    os.utime(runs / "one/best.pt", (3000, 3000))
    assert training_tags(tmp_path / "model.pt", runs) == {"training_run_id": "id1"}


def test_evaluations_of_different_networks_have_different_folders(tmp_path):
    write_card(tmp_path / "runs" / "a" / "card.json", {})
    names = (
        "models/model.pt",
        "runs/a/best.pt",
        "runs/a/last.pt",
        "runs/a/model.pt",
        "runs/b/best.pt",
        "runs/b/last.pt",
    )
    folders = [evaluation_folder("out", TrainedNetwork(tmp_path / name), "held_out") for name in names]
    assert folders == [f"out/{name}/held_out" for name in ("model", "a", "a-last", "a-model", "b", "b-last")]
    assert evaluation_folder("out", TrainedNetwork("x/net.pt"), "all", "d4") == "out/net/all-d4"
    names = [evaluation_name(TrainedNetwork(tmp_path / name), "held_out", "d4") for name in names]
    assert names == [f"{name}-held_out-d4" for name in ("model", "a", "a-last", "a-model", "b", "b-last")]
