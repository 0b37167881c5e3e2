"""The record of a run as a CSV file, which has every value of the run once, however often it was interrupted."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bundle.atomic import append_csv, replacing
from bundle.tracking.rows import Row

#: values of a step; all others are of an epoch
_OF_STEPS = ("train/loss", "train/learning_rate", "train/seconds_")


def append(path: Path, rows: Sequence[Row]) -> None:
    """Add rows at the end of the file, and none at all when that fails.

    Raises:
        OSError: when the file cannot be written.
    """
    append_csv(path, Row._fields, (row._replace(time=round(row.time, 3)) for row in rows))


def cut(path: Path, first: Row) -> None:
    """Drop what an interrupted run recorded after its checkpoint: the resumed one makes these rows again.

    Args:
        path: of the file; without one nothing happens.
        first: row of the resumed run; what is older stays. Where it belongs to the end of an epoch, so do the values
            of its last step.

    Raises:
        OSError: when the file cannot be written; it is then as it was.
    """
    if not path.is_file():
        return
    after = (first.iteration, not _is_of_step(first.name))
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        head, *rows = [row for row in csv.reader(stream) if len(row) == len(Row._fields)] or [list(Row._fields)]
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(
            [head, *(row for row in rows if row[1].isdecimal() and (int(row[1]), not _is_of_step(row[3])) < after)]
        )


def _is_of_step(name: str) -> bool:
    return name.startswith(_OF_STEPS)
