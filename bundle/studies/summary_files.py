"""The report of a study, from ``study.csv`` alone: ``summary.csv``, ``summary.md``, ``chart.png`` and ``chart.svg``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bundle import atomic
from bundle.studies.definition import Study
from bundle.studies.summary import Row, Summary, summarise
from bundle.studies.summary_chart import draw, save
from bundle.studies.summary_markdown import markdown

__all__ = ["write_report", "write_rows"]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """Write ``study.csv``: one line for every value."""
    return atomic.write_csv(path, Row._fields, rows, digits=6)


def write_report(study: Study, rows: Sequence[Row], folder: Path) -> tuple[list[Path], str]:
    """Write tables and chart of what has been measured so far.

    Returns:
        the files, and the tables in Markdown.
    """
    summaries = summarise(study, rows)
    text = markdown(study, rows, summaries)
    atomic.write_text(folder / "summary.md", text)
    files = [atomic.write_csv(folder / "summary.csv", Summary._fields, summaries, digits=6), folder / "summary.md"]
    if summaries:
        files += save(draw(study, rows), folder / "chart")
    return files, text
