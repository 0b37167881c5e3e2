"""Tables whose rows have different columns."""

from __future__ import annotations

import errno
import os

import pytest

from bundle.output.growing_table import GrowingTable


def test_values_stand_below_their_names_whatever_columns_their_row_has(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("of,an,earlier,run\n1,2,3,4\n")
    table = GrowingTable(path)
    table.add(["file", "area"], [])
    assert path.read_text().splitlines() == ["file,area"]
    table.add(["file", "area"], [["a, b", 3]])
    table.add(["file", "voxels", "z", "network"], [["b", 5, 1, "n"], ["c", 6, 2, "n"]])
    table.add(["area", "file"], [[9, "d"]])
    table.add(["first", "file"], [[0, "e"]])
    assert path.read_text().splitlines() == [
        "first,file,voxels,z,network,area",
        ',"a, b",,,,3',
        ",b,5,1,n,",
        ",c,6,2,n,",
        ",d,,,,9",
        "0,e,,,,",
    ]


def test_one_goes_on_where_another_of_the_run_ended(tmp_path):
    path = tmp_path / "a.csv"
    table = GrowingTable(path)
    table.go_on()  # nothing there
    table.add(["file", "area"], [["a", 1]])
    other = GrowingTable(path)
    other.go_on()
    other.add(["file", "voxels"], [["b", 2]])
    assert path.read_text().splitlines() == ["file,voxels,area", "a,,1", "b,2,"]


def test_a_failure_leaves_the_table_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    table = GrowingTable(path)
    table.add(["file"], [["a"]])

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        table.add(["file", "area"], [["b", 2]])
    assert path.read_text().splitlines() == ["file", "a"]
    monkeypatch.undo()
    table.add(["file", "area"], [["b", 2]])
    assert path.read_text().splitlines() == ["file,area", "a,", "b,2"]
