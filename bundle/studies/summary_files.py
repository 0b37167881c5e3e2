"""Tables and chart of a study: ``study.csv``, ``summary.csv``, ``summary.md``, ``chart.png`` and ``chart.svg``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bundle.atomic import write_csv, write_text
from bundle.studies.definition import Study
from bundle.studies.summary import Summary, repeats_of, summarise
from bundle.studies.summary_chart import draw, save
from bundle.studies.summary_markdown import markdown


def write_summary(study: Study, values: pd.DataFrame, folder: Path) -> tuple[list[Path], str]:
    """Write tables and chart of what has been measured so far, all of it from the values.

    Returns:
        the files, and the tables in Markdown.
    """
    repeats = repeats_of(study, values)
    summaries = summarise(study, repeats)
    text = markdown(study, values, summaries)
    rows = values.itertuples(index=False)
    files = [write_csv(folder / "study.csv", values.columns, rows, digits=6)]
    files += [write_csv(folder / "summary.csv", Summary._fields, summaries, digits=6), folder / "summary.md"]
    write_text(folder / "summary.md", text)
    if summaries:
        files += save(draw(study, repeats), folder / "chart")
    return files, text
