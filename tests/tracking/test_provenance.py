"""Provenance names the code that really ran, and configs of any content become JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from bundle.tracking.provenance import executed_config, flat_config, git_version, provenance, running_config


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_git_commit_and_dirty_flag(tmp_path):
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "code.py").write_text("1")
    assert git_version(tmp_path) == ("unknown", "unknown")  # no checkout
    git(tmp_path, "init")
    git(tmp_path, "add", "code.py")
    assert git_version(tmp_path) == ("unknown", "unknown")  # no commit
    git(tmp_path, "commit", "-m", "one")
    commit, dirty = git_version(tmp_path)
    assert len(commit) == 40
    assert dirty == "false"  # installed/ is untracked
    (tmp_path / "code.py").write_text("2")
    assert git_version(tmp_path) == (commit, "true")
    # a package inside somebody's checkout, but no part of it, has not that commit
    assert git_version(tmp_path / "installed") == ("unknown", "unknown")


def test_git_missing_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_version(Path(__file__).parent) == ("unknown", "unknown")


def test_provenance_is_flat_text_and_follows_config_and_data():
    facts = provenance()
    assert all(isinstance(key, str) and isinstance(value, str) and value for key, value in facts.items())
    assert facts["package.torch"] == torch.__version__
    assert facts["torch_threads"] == str(torch.get_num_threads())
    assert {"git_commit", "git_dirty", "bundle_version", "python", "platform", "device"} <= facts.keys()
    assert "data_fingerprint" not in facts
    assert provenance(items_fingerprint="abc")["data_fingerprint"] == "abc"
    one, same, other = ({"a": 1, "b": torch.device("cpu")}, {"b": "cpu", "a": 1}, {"a": 2})
    hashes = [provenance(config)["config_sha256"] for config in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


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
    parser = ConfigParser(config={"lr": 1, "probe": {"_target_": "tests.tracking.test_provenance.Probe"}})
    parser["lr"] = 2
    parser["device"] = torch.device("cpu")
    found = parser.get_parsed_content("probe").config
    assert (found["lr"], found["device"]) == (2, "cpu")
