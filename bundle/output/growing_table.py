"""A CSV table that rows are added to by the names of their columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from bundle.atomic import append_csv


class GrowingTable:
    """The table of a run, which its first rows begin anew; all rows of a call are added, or none.

    Rows may have other columns than those before, as planes and volumes have. A new column stands behind the one that
    it follows in its own rows; the table is written anew then, and the column is empty in the rows before.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._head: list[str] = []

    def go_on(self) -> None:
        """Add to the rows that others wrote in this run, where there are any."""
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
                self._head = next(csv.reader(stream), [])

    def add(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of values, in the order of ``columns``.

        Raises:
            OSError: when the file cannot be written; it is then as it was.
        """
        head = list(self._head)
        for before, name in zip([None, *columns], columns, strict=False):
            if name not in head:
                head.insert(0 if before is None else head.index(before) + 1, name)
        added = _arranged(columns, rows, head)
        if not self._head or head == self._head:
            append_csv(self.path, head, added, fresh=not self._head)
        else:
            with self.path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
                written = csv.reader(stream)
                append_csv(self.path, head, chain(_arranged(next(written), written, head), added), fresh=True)
        self._head = head


def _arranged(columns: Sequence[str], rows: Iterable[Sequence[Any]], head: Sequence[str]) -> Iterable[list[Any]]:
    places = [columns.index(name) if name in columns else None for name in head]
    return ([("" if place is None else row[place]) for place in places] for row in rows)
