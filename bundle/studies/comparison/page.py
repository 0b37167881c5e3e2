"""The report as a page and as a table for machines."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from bundle import atomic
from bundle.metrics.selection import lower_is_better
from bundle.output.templates import html_templates
from bundle.studies.comparison.learning_curves import style
from bundle.studies.comparison.mlflow_runs import Run
from bundle.studies.comparison.run_settings import COMMIT, FINGERPRINT
from bundle.studies.comparison.run_table import Row, Table
from bundle.studies.comparison.shared_images import SharedImage

_COLUMNS = 12  # settings in a table on paper; runs.csv has them all


@dataclass
class Section:
    """A table with its title; ``marks`` are the numbers (run id -> row of the trainings) whose colour a run has."""

    title: str
    part: str | None
    table: Table
    marks: dict[str, int]


@dataclass
class Page:
    """All that the page shows; ``charts`` are SVG by what they show."""

    experiment: str
    store: str
    written: str
    others: list[str]
    trainings: int
    evaluations: int
    repeated: int
    status: dict[str, int]
    metric: str
    window: int
    notes: list[str]
    sections: list[Section]
    charts: dict[str, str]
    images: list[SharedImage]
    marks: dict[str, int]
    kept: dict[str, int]
    steps: dict[str, int]
    common: dict[str, str]
    provenance: dict[str, dict[str, list[str]]]


def render(page: Page) -> str:
    """The page as HTML; names, values and notes are escaped."""
    environment = html_templates("bundle.studies.comparison")
    environment.filters |= {
        "value": _value,
        "short": _short,
        "duration": _duration,
        "data_uri": _data_uri,
        "style": style,
        "breakable": _breakable,
    }
    return environment.get_template("page.html").render(
        page=page,
        columns=_COLUMNS,
        lower_is_better=lower_is_better,
        other_data=_differ(page, FINGERPRINT),
        other_code=_differ(page, COMMIT),
        DATA=FINGERPRINT,
        CODE=COMMIT,
    )


def write_csv(page: Page, path: Path) -> None:
    """A line for each run and, of runs that differ in their seed only, one more for all, with mean and deviation."""
    settings = list(dict.fromkeys(name for section in page.sections for name in section.table.settings))
    metrics = list(dict.fromkeys(name for section in page.sections for name in section.table.metrics))
    lines = [
        {
            **_facts(section, row),
            **{f"setting.{name}": row.told(name) for name in settings},
            **_measured(row, metrics),
        }
        for section in page.sections
        for several in section.table.rows
        for row in ([several, *several.alone()] if len(several.runs) > 1 else [several])
    ]
    atomic.write_csv(path, lines[0], (line.values() for line in lines))


def _facts(section: Section, row: Row) -> dict[str, object]:
    run = row.runs[0]
    one = len(row.runs) == 1
    return {
        "table": section.part or "training",
        "row": row.number,
        "name": row.name,
        "runs": len(row.runs),
        "run_id": run.run_id if one else "",
        "parent_run_id": run.parent_id or "",
        "status": run.status if one else "",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.start)) if one else "",
        "seconds": f"{run.end - run.start:.1f}" if one and run.end is not None else "",
        "data_fingerprint": run.params.get(FINGERPRINT, ""),
        "git_commit": run.params.get(COMMIT, ""),
    }


def _measured(row: Row, metrics: list[str]) -> dict[str, object]:
    pairs = {f"{metric}{end}": of(metric) for metric in metrics for end, of in (("", row.mean), (".std", row.std))}
    return {name: "" if value is None else repr(value) for name, value in pairs.items()}


def _differ(page: Page, name: str) -> bool:
    """Whether a fact of the provenance is not the same for all runs of the page."""
    runs = [run for section in page.sections for row in section.table.rows for run in row.runs]
    return len({run.params.get(name) for run in runs}) > 1


def _value(number: float | None, decimals: int) -> str:
    return "–" if number is None else f"{number:.{decimals}f}"


def _short(number: float) -> str:
    return f"{number:.3g}" if abs(number) >= 1e-3 else f"{number:.5f}"


def _breakable(name: str) -> Markup:
    """A long name may be broken after its dots and underscores."""
    return Markup("<wbr>").join(re.split(r"(?<=[._])", name))


def _duration(run: Run) -> str:
    if run.end is None:
        return "–"
    minutes, seconds = divmod(round(run.end - run.start), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min" if minutes >= 10 else f"{minutes}:{seconds:02d} min"


def _data_uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
