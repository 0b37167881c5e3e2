"""Configs of any content become JSON, and the one that is at work is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from bundle.tracking.config import changed_config, executed_config, flat_config, running_config
from tests.conftest import ROOT


def test_executed_config_is_json_whatever_it_holds():
    config = {"device": torch.device("cpu"), "path": Path("a/b"), 3: (1, None, True), "f": {"x": [torch.float32, 0.5]}}
    expected = {"device": "cpu", "path": "a/b", "3": [1, None, True], "f": {"x": ["torch.float32", 0.5]}}
    assert json.loads(json.dumps(executed_config(config))) == expected
    assert executed_config(ConfigParser(config={"a": {"b": torch.device("cpu")}})) == {"a": {"b": "cpu"}}
    with pytest.raises(TypeError, match="config must be a mapping"):
        executed_config("train.json")


def test_every_value_of_a_config_has_a_path():
    config = {
        "imports": ["$import bundle", "$from bundle import engines"],
        "import_json": "$import json",
        "_desc_": "what it is for",
        "lr": 0.02,
        "resume": False,
        "run_name": None,
        "empty": [],
        "device": "$torch.device('cpu')",
        "load": [{"_target_": "Compose", "_disabled_": True, "keys": ["image", "@label"]}, "@more"],
        "train": {"run": ["$nested, and therefore no run"], "trainer": {"steps": 3}},
        "initialize": ["$set_determinism(0)"],
        "run": "$@train#trainer.run()",
        "training": ["$1"],
        "evaluating": ["$2"],
        "inference": {"a network": "under the name of a run"},
    }
    assert dict(flat_config(config)) == {
        "lr": "0.02",
        "resume": "false",
        "run_name": "null",
        "empty": "[]",
        "device": "$torch.device('cpu')",
        "load.0._target_": "Compose",
        "load.0.keys.0": "image",
        "load.0.keys.1": "@label",
        "load.1": "@more",
        "train.run.0": "$nested, and therefore no run",
        "train.trainer.steps": "3",
        "inference.a network": "under the name of a run",
    }
    # as it stands after overrides, unresolved
    parser = ConfigParser(config={"lr": 1, "optimizer": {"lr": "@lr"}})
    parser["lr"] = 2
    parser.parse()
    assert list(flat_config(parser)) == [("lr", "2"), ("optimizer.lr", "@lr")]
    with pytest.raises(TypeError, match="config must be a mapping"):
        list(flat_config("train.json"))


class Probe:
    """Keeps the config under which it was made."""

    def __init__(self):
        self.config = running_config()


def test_the_running_config_is_found_with_its_overrides():
    assert running_config() is None
    parser = ConfigParser(config={"lr": 1, "probe": {"_target_": "tests.tracking.test_config.Probe"}})
    parser["lr"] = 2
    parser["device"] = torch.device("cpu")
    found = parser.get_parsed_content("probe").config
    assert (found["lr"], found["device"]) == (2, "cpu")


def test_what_was_changed_of_a_training():
    parser = ConfigParser()
    parser.read_config([str(ROOT / "configs" / name) for name in ("train.json", "experiments/nuclei.json")])
    parser["optimizer#lr"] = 0.1
    parser["run_name"] = "mine"  # a place, no setting
    changed = dict(changed_config(executed_config(parser)))
    assert changed["optimizer.lr"] == "0.1"
    assert changed["best_by"] == "seg"
    assert "run_name" not in changed
    assert len(changed) < 12
    assert not dict(changed_config({"optimizer": {"lr": 0.1}}))  # somebody's own config: config.json has it
