"""Provenance names the code that really ran."""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch

from bundle.tracking.provenance import git_version, provenance


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
