"""A file is the old one or the new one, and what a killed process left is cleared away."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.atomic import remove_leftovers, replacing, write_text


def fill(path: Path) -> None:
    with replacing(path) as part:
        part.write_text("half")
        raise OSError("full")


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(OSError, match="full"):
        fill(path)
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    pid, here = dead.stdout.strip(), re.sub(r"\W", "_", platform.node())
    gone = [
        f".last.pt.{here}-{pid}.part",
        f".last.pt.{here}-{os.getpid()}.part",
        f".mlflow.db.{here}-{pid}.part-journal",
    ]
    kept = [f".best.pt.{here}-{os.getppid()}.part", f".last.pt.elsewhere-{pid}.part", f".last.pt.{pid}.part"]
    kept += [".notes.part", "last.pt", f"last.pt.{here}-{os.getpid()}.part"]
    for name in gone + kept:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
