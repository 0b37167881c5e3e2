"""The report of a study, from ``study.csv`` alone: ``summary.csv``, ``summary.md``, ``chart.png`` and ``chart.svg``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bundle import atomic
from bundle.studies.definition import Study
from bundle.studies.summary import Row, Summary, summarise
from bundle.studies.summary_chart import draw, save
from bundle.studies.summary_markdown import markdown

__all__ = ["write_csv", "write_report", "write_rows"]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """Write ``study.csv``: one line for every value."""
    return write_csv(path, Row._fields, rows)


def write_report(study: Study, rows: Sequence[Row], folder: Path) -> tuple[list[Path], str]:
    """Write tables and chart of what has been measured so far.

    Returns:
        the files, and the tables in Markdown.
    """
    summaries = summarise(study, rows)
    text = markdown(study, rows, summaries)
    atomic.write_text(folder / "summary.md", text)
    files = [write_csv(folder / "summary.csv", Summary._fields, summaries), folder / "summary.md"]
    if summaries:
        files += save(draw(study, rows), folder / "chart")
    return files, text


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Iterable[Any]]) -> Path:
    """Write a table; numbers have six digits, what is None or NaN stays empty."""
    atomic.write_csv(path, head, (map(_text, row) for row in rows))
    return path


def _text(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)
