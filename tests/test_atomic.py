"""A file is the old one or the new one, and what a killed process left is cleared away."""

from __future__ import annotations

import csv
import errno
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.atomic import append_csv, remove_leftovers, replacing, require_writable, write_csv, write_json, write_text


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
    with pytest.raises(OSError, match=rf"^{path} cannot be written \(full\)$"):
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


def test_a_failure_keeps_its_kind_and_names_the_file(tmp_path) -> None:
    told = rf"^{tmp_path / 'a'} cannot be written \(Permission denied\)$"
    with pytest.raises(PermissionError, match=told) as failed, replacing(tmp_path / "a"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "elsewhere")
    assert failed.value.errno == errno.EACCES
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file/b/a cannot be written \(Not a directory\)$"):
        write_text(tmp_path / "file" / "b" / "a", "")


def test_rows_are_added_all_or_none(tmp_path, monkeypatch) -> None:
    table = tmp_path / "a.csv"
    append_csv(table, ["name", "value"], [["x", 1]])
    append_csv(table, ["name", "value"], [["y", 2], ["z", 3]])
    whole = table.read_text()
    assert whole == "name,value\nx,1\ny,2\nz,3\n"

    class Half:
        def __init__(self, stream):
            self.stream = stream

        def writerows(self, rows):
            self.stream.write("half a r")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(csv, "writer", Half)
    for fresh in (False, True):
        with pytest.raises(OSError, match=rf"^{table} cannot be written \(No space left on device\)$"):
            append_csv(table, ["name", "value"], [["w", 4]], fresh=fresh)
        assert table.read_text() == whole
    monkeypatch.undo()
    append_csv(table, ["name", "value"], [["w", 4]], fresh=True)
    assert table.read_text() == "name,value\nw,4\n"
    assert list(tmp_path.iterdir()) == [table]


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
    (tmp_path / "below" / gone[0]).mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, "below"])
    assert list((tmp_path / "below").iterdir())
    remove_leftovers(tmp_path, below=True)
    assert not list((tmp_path / "below").iterdir())
