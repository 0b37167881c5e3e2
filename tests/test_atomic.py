"""A file is the old one or the new one, and what a killed process left is cleared away."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.atomic import remove_leftovers, replacing, require_writable, write_csv, write_json, write_text


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


def test_a_folder_appears_with_all_that_is_in_it(tmp_path) -> None:
    target = tmp_path / "set.d"
    with replacing(target) as part:
        part.mkdir()
        write_json(part / "a.json", {"of": target})
        assert not target.exists()
    assert (target / "a.json").read_text() == f'{{\n    "of": "{target}"\n}}\n'
    with pytest.raises(OSError, match="not empty"), replacing(target) as part:
        part.mkdir()
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_has_the_name_of_the_file_and_is_not_found_by_it(tmp_path) -> None:
    with replacing(tmp_path / "a.nii.gz") as part:
        assert part.name == "a.nii.gz"
        part.touch()
        assert not list(tmp_path.glob("*.gz"))


def test_a_table(tmp_path) -> None:
    write_csv(
        tmp_path / "a.csv", ["name", "value"], [["x, y", 0.5], ["z", None], [3, float("nan")], ["w", 1 / 3]], digits=6
    )
    assert (tmp_path / "a.csv").read_text() == 'name,value\n"x, y",0.5\nz,\n3,\nw,0.333333\n'


def test_a_folder_is_tried_before_anything_is_computed(tmp_path) -> None:
    assert require_writable(tmp_path / "deep" / "er") == tmp_path / "deep" / "er"
    assert not list((tmp_path / "deep" / "er").iterdir())
    (tmp_path / "file").touch()
    for place, kind in (("file", FileExistsError), ("file/below", NotADirectoryError)):
        with pytest.raises(kind, match=rf"out '.*{place}' cannot be written \(.*\): choose another, for instance"):
            require_writable(tmp_path / place, "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_folder(tmp_path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="closed' cannot be written"):
        require_writable(tmp_path / "closed")


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    pid, here = dead.stdout.strip(), re.sub(r"\W", "_", platform.node())
    gone = [
        f".{here}-{pid}-0a1b.part",
        f".{here}-{os.getpid()}-0a1b.part",
    ]
    kept = [f".{here}-{os.getppid()}-0a1b.part", f".elsewhere-{pid}-0a1b.part", f".{pid}.part"]
    kept += [".part", "last.pt", f"{here}-{os.getpid()}-0a1b.part"]
    for name in gone + kept:
        (tmp_path / name).mkdir()
        (tmp_path / name / "last.pt").touch()
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
