"""The id that a run keeps of itself in MLflow, and the file of the store, as anybody may leave them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bundle.tracking import earlier_run_id, sqlite_uri
from bundle.tracking.mlflow_run import new_run, open_run


@pytest.mark.parametrize("kept", [b"", b"\n", b"0123abc\n", b"new-77\n"])
def test_the_id_that_was_kept(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "mlflow_run_id.txt").write_bytes(kept)
    assert earlier_run_id(tmp_path) == (kept.decode().strip() or None)


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (b"\xff\xfe\x00", r"cannot be read \(it is no text\)"),
        (b"abc\ndef", r"holds 'abc\\ndef' instead of the id of an MLflow run"),
        (b"x" * 5000, r"holds 'x{40}' instead"),
        (b"../../etc", r"holds '\.\./\.\./etc' instead"),
    ],
)
def test_what_is_no_id(tmp_path: Path, kept: bytes, told: str) -> None:
    (tmp_path / "mlflow_run_id.txt").write_bytes(kept)
    with pytest.raises(
        ValueError, match=rf"^{tmp_path}/mlflow_run_id.txt {told}.*: remove it, and a new run is opened"
    ):
        earlier_run_id(tmp_path)


def foreign(file: Path) -> None:
    with sqlite3.connect(file) as opened:
        opened.execute("create table cells (area int)")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda file: file.write_bytes(b"\x00\x01garbage" * 500),
            r"cannot be used as a database \(file is not a database",
        ),
        (lambda file: file.mkdir(), r"cannot be used as a database \(unable to open database file\): move it away"),
        (foreign, r"is a database of something else \(tables cells\): choose another tracking_uri"),
    ],
)
def test_what_is_no_store(tmp_path: Path, make, told: str) -> None:
    file = tmp_path / "mlflow.db"
    make(file)
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(ValueError, match=rf"^{file} {told}"):
        open_run(sqlite_uri(tmp_path), "experiment", "name", new_run())
    assert before == (file.read_bytes() if file.is_file() else None)
