"""The whole report: runs out of the store, onto one page and into one CSV file."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bundle.atomic import write_text
from bundle.console import did_you_mean
from bundle.studies.comparison.comparability import comparability
from bundle.studies.comparison.learning_curves import chart
from bundle.studies.comparison.mlflow_runs import Run, RunStore, choose, grouped
from bundle.studies.comparison.page import Page, Section, render, write_csv
from bundle.studies.comparison.run_settings import differing, provenance, settings
from bundle.studies.comparison.run_table import make_table, newest
from bundle.studies.comparison.run_values import TRAIN_LOSS, Curve, curves, evaluation_values, kept, training_values
from bundle.studies.comparison.shared_images import shared_images

#: orders runs and images, where nobody asks for another one, trainings were not told one, and it was measured
_USUAL = ("seg", "rand_error", "loss")
_NAME_CHARACTERS = 40  # of the settings in an evaluation's name; the table's columns have them all
_WINDOWS = 20  # in the longest training: how many windows of the running mean its loss consists of


def write_report(
    tracking_uri: str,
    experiment: str | None = None,
    runs: Sequence[str] | None = None,
    output: str | os.PathLike[str] = "report",
    metric: str | None = None,
    images: int = 5,
) -> Path:
    """Write ``output/index.html``, one page that needs no other file, and its tables as ``output/runs.csv``.

    The page holds a table of the trainings, and of the evaluations of every part of the data, with the settings that
    differ; learning curves; and the worst images as each run segmented them. Runs that differ in their seed only are
    one row, mean and standard deviation.

    Args:
        tracking_uri: ``sqlite:///<path>`` or a server; it is only read.
        experiment: None takes the one with the newest run.
        runs: names or ids; a training brings its evaluations, a parent its children. None takes all.
        output: folder; made if absent, and of earlier reports only these two files are replaced.
        metric: orders rows and images; None takes the one by which most trainings chose their network (``best_by``),
            or, where that is the loss, the first measured one of seg, rand_error, loss.
        images: how many are shown of each part, 0 for none.

    Returns:
        the page.

    Raises:
        ValueError: for an unknown experiment, run or metric, an empty store, or negative ``images``.
        FileNotFoundError, ConnectionError: when there is no such store.
    """
    if images < 0:
        raise ValueError(f"images must be at least 0 (0 shows none), got {images}")
    store = RunStore(tracking_uri)
    others = store.experiments()
    if not others:
        raise ValueError(f"tracking_uri {tracking_uri!r} has no runs: train first (make quickstart)")
    experiment = others[0] if experiment is None else experiment
    everything = store.runs(experiment)
    chosen = choose(everything, runs)
    trained = {run.run_id: run.training(everything) for run in chosen if run.part is not None}
    trainings = [run for run in chosen if run.part is None]
    evaluations = newest([run for run in chosen if run.part is not None], lambda run: trained[run.run_id])

    lines = {run.run_id: curves(store, run) for run in trainings}
    longest = max((len(found[TRAIN_LOSS][0]) for found in lines.values() if TRAIN_LOSS in found), default=1)
    window = max(1, longest // _WINDOWS)
    values = {run.run_id: training_values(run, lines[run.run_id], window) for run in trainings}
    values |= {run.run_id: evaluation_values(run) for run in evaluations}
    metric = _metric(metric, values, trainings)
    told = {run.run_id: settings(run, trained.get(run.run_id)) for run in (*trainings, *evaluations)}
    facts = provenance([*trainings, *evaluations])  # which has runs by their names in the store
    evaluations = _named(evaluations, trained, told)

    table = make_table(trainings, values, told, metric)
    number = {run.run_id: row.number for row in table.rows for run in row.runs}
    sections = [Section("Trainings", None, table, number)] if trainings else []
    for part in dict.fromkeys(str(run.part) for run in evaluations):
        measured = [run for run in evaluations if run.part == part]
        marks = {run.run_id: number.get(t.run_id, 0) for run in measured if (t := trained[run.run_id]) is not None}
        sections.append(Section(f"Evaluations on {part}", part, make_table(measured, values, told, metric), marks))
    kept_at = {run.run_id: at for run in trainings if (at := kept(run, lines[run.run_id])) is not None}
    ordered = [run for section in sections for row in section.table.rows for run in row.runs]
    alike = [told[run.run_id] for run in trainings or evaluations]
    different = differing(alike)
    page = Page(
        experiment=experiment,
        store=tracking_uri,
        written=time.strftime("%Y-%m-%d %H:%M"),
        others=[name for name in others if name != experiment],
        trainings=len(trainings),
        evaluations=len(evaluations),
        repeated=len(chosen) - len(trainings) - len(evaluations),
        status=Counter(run.status for run in chosen),
        metric=metric,
        window=window,
        notes=comparability([*trainings, *evaluations]),
        sections=sections,
        charts=_charts(sections, lines, kept_at, window, metric) if trainings else {},
        images=shared_images(store, ordered, metric, images) if images else [],
        marks={run_id: mark for section in sections for run_id, mark in section.marks.items()},
        kept=kept_at,
        steps={run_id: int(found[TRAIN_LOSS][0][-1]) for run_id, found in lines.items() if TRAIN_LOSS in found},
        common={name: value for name, value in alike[0].items() if name not in different and _tells(name, value)},
        provenance=facts,
    )
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "index.html", render(page))
    write_csv(page, folder / "runs.csv")
    return folder / "index.html"


def _tells(name: str, value: str) -> bool:
    """Whether a reader learns something: not from a path of the config, an expression, or what is not set."""
    return "." not in name and value not in ("None", "null", "{}", "[]") and not value.startswith(("$", "@"))


def _metric(asked: str | None, values: dict[str, dict[str, float]], trainings: Sequence[Run]) -> str:
    measured = sorted({name for each in values.values() for name in each if name != TRAIN_LOSS})
    if asked is not None and asked not in measured:
        hint = did_you_mean(asked, measured) if measured else "these runs measured nothing"
        raise ValueError(f"metric {asked!r} was not measured: {hint}")
    # the loss is what a training chooses by that was told nothing
    told = Counter(by for run in trainings if (by := run.params.get("best_by", "loss")) != "loss").most_common(1)
    usual = (*(name for name, _ in told), *_USUAL, *measured)
    return asked or next((name for name in usual if name in measured), _USUAL[-1])


def _named(evaluations: Sequence[Run], trained: dict[str, Run | None], told: dict[str, dict[str, str]]) -> list[Run]:
    """Each evaluation called after its training; several of one part, also after what differs, or numbered."""
    names = {}
    alike = grouped(evaluations, lambda run: ((trained[run.run_id] or run).name, run.part))
    for (name, _), together in alike.items():
        different = differing([told[run.run_id] for run in together])
        labels = [", ".join(f"{s} {told[run.run_id].get(s, '–')}" for s in different) for run in together]
        if max(map(len, labels)) > _NAME_CHARACTERS:
            labels = [str(number) for number in range(1, len(together) + 1)]
        for run, what in zip(together, labels, strict=True):
            names[run.run_id] = f"{name} ({what})" if what else name
    return [replace(run, name=names[run.run_id]) for run in evaluations]


def _charts(
    sections: Sequence[Section],
    lines: dict[str, dict[str, Curve]],
    kept_at: dict[str, int],
    window: int,
    metric: str,
) -> dict[str, str]:
    """The training's loss, the validation's, the chosen metric, then all others; of classes their means alone."""
    found_names = {name for found in lines.values() for name in found}
    single = {name for name in found_names if name.count("/") > 1 and not name.endswith(("/mean", f"/{metric}"))}
    names = sorted(found_names - single)
    names.sort(key=lambda name: (name != TRAIN_LOSS, name != "val/loss", name != f"val/{metric}"))
    drawn = {name: chart(name, sections[0].table.rows, lines, kept_at, window) for name in names}
    return {name: svg for name, svg in drawn.items() if svg is not None}
