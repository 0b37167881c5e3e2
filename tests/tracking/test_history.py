"""history.csv has every value of a run once, however often the run was interrupted."""

from __future__ import annotations

import os

import pytest

from bundle.tracking import history
from bundle.tracking.rows import Row


def record(first: int, last: int, length: int = 3) -> list[Row]:
    """What steps ``first`` to ``last`` record: each its loss, and the last of an epoch also the metrics of it."""
    rows = []
    for step in range(first, last + 1):
        epoch = (step - 1) // length + 1
        rows.append(Row(0.5, step, epoch, "train/loss", step / 10))
        if step % length == 0:
            rows += [Row(0.5, step, epoch, name, epoch / 10) for name in ("val/iou", "train/epoch")]
    return rows


@pytest.mark.parametrize("reached", range(10))
@pytest.mark.parametrize("saved", range(10))
def test_a_resumed_run_leaves_the_file_of_an_uninterrupted_one(saved, reached, tmp_path) -> None:
    whole, resumed = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    history.append(whole, record(1, 12))
    history.append(resumed, record(1, max(saved, reached)))
    with resumed.open("a") as file:
        file.write("0.5,1")  # killed in the middle of a row
    rest = record(saved + 1, 12)
    history.cut(resumed, rest[0])
    history.append(resumed, rest)
    assert resumed.read_text() == whole.read_text()


def test_the_end_of_an_epoch_is_told_once(tmp_path) -> None:
    """Stopped in a validation, the resumed run begins with it: the epoch's last step has been recorded."""
    whole, resumed = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    history.append(whole, record(1, 12))
    history.append(resumed, record(1, 6)[:-1])  # killed after the validation was recorded, before it was saved
    rest = record(1, 12)[len(record(1, 6)) - 2 :]
    assert rest[0].name == "val/iou"
    history.cut(resumed, rest[0])
    history.append(resumed, rest)
    assert resumed.read_text() == whole.read_text()


def test_a_run_without_a_history(tmp_path) -> None:
    history.cut(tmp_path / "history.csv", record(1, 1)[0])
    assert list(tmp_path.iterdir()) == []


def test_rows_that_do_not_fit_leave_no_half_of_one(tmp_path, monkeypatch) -> None:
    path = tmp_path / "history.csv"
    history.append(path, record(1, 2))
    before = path.read_text()

    class Half:
        """Writes half a row before the disk is full."""

        def __init__(self, stream: object) -> None:
            self.stream = stream

        def writerows(self, rows: object) -> None:
            self.stream.write("0.5,3,1")  # type: ignore[attr-defined]
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr(history.csv, "writer", Half)
    with pytest.raises(OSError, match="No space left"):
        history.append(path, record(3, 3))
    monkeypatch.undo()
    assert path.read_text() == before
