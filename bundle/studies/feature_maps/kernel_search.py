"""``python -m bundle.studies.feature_maps.kernel_search``: kernels of a DCN chosen without a person looking.

The first future work of Takaya et al. (2018): train, find the branch that does least, shrink its kernel, train again,
and stop when the validation images say that it got worse.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bundle.atomic import write_csv, write_text
from bundle.console import did_you_mean
from bundle.metrics.selection import lower_is_better
from bundle.networks.dcn import STRIDES
from bundle.studies.__main__ import arguments, open_study
from bundle.studies.__main__ import main as run_study
from bundle.studies.definition import Grid, Study
from bundle.studies.feature_maps.__main__ import told
from bundle.studies.feature_maps.branch_maps import maps_of, tuning_images
from bundle.studies.feature_maps.kernel_rule import branch_values
from bundle.studies.feature_maps.map_statistics import STATISTICS, weakest
from bundle.studies.summary import collect
from bundle.studies.summary_markdown import markdown_table
from bundle.studies.trial import StudyPaths, Trial


class Step(NamedTuple):
    """One triple of kernels that was trained.

    Attributes:
        kernels: px, of the three branches.
        metric: on the validation images, mean over seeds.
        statistics: of each branch, mean over seeds.
        branch: that does least.
    """

    kernels: tuple[int, ...]
    metric: float
    statistics: dict[str, float]
    branch: str


def search(
    start: Sequence[int],
    train: Callable[[tuple[int, ...]], tuple[float, dict[str, float]]],
    shrink: int = 2,
    lower: bool = False,
    statistic: str = "contrast",
) -> tuple[list[Step], str]:
    """Shrink the kernel of the branch that does least, as long as the metric gets better.

    Args:
        start: kernels in px.
        train: gives the metric of a triple and the statistic of each branch, F1 to F3.
        shrink: px at a step, even; less where the branch's stride is nearer.
        lower: whether a lower metric is better.
        statistic: what it is that ``train`` gives of each branch.

    Returns:
        the triples in the order of their trainings (the last one is the first that was no better, or the best), and
        why it ended.

    Raises:
        ValueError: for a ``shrink`` that is odd or below 2.
    """
    if shrink < 2 or shrink % 2:
        raise ValueError(f"shrink must be an even number of px of at least 2, got {shrink}")
    steps: list[Step] = []
    kernels = tuple(start)
    while True:
        metric, statistics = train(kernels)
        steps.append(Step(kernels, metric, statistics, weakest(statistics, statistic)))
        better = len(steps) == 1 or (metric < steps[-2].metric if lower else metric > steps[-2].metric)
        if not better:
            return steps, "the validation images say that it got no better"
        place = int(steps[-1].branch[1:]) - 1
        smaller = max(kernels[place] - shrink, STRIDES[place])
        if smaller == kernels[place]:
            return steps, f"the kernel of {steps[-1].branch} is as small as its stride"
        kernels = (*kernels[:place], smaller, *kernels[place + 1 :])


def main(argv: Sequence[str] | None = None) -> int:
    """Command line.

    Returns:
        0; that of the study when a training fails; 2 when nothing could be run.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bundle.studies.feature_maps.kernel_search",
        allow_abbrev=False,
        description="Kernels of a deep contextual network chosen by themselves: train, find the branch that does "
        "least, shrink its kernel, train again, stop when the validation images say that it got no better. To resume "
        "after an interruption, repeat the command.",
        epilog="All other options are those of python -m bundle.studies: --study FILE (with a grid of kernels), "
        "--dataset_dir, --seeds, --jobs and so on.",
    )
    parser.add_argument("--by", default="contrast", choices=list(STATISTICS), help="what says how much a branch does")
    parser.add_argument("--metric", help="of the validation images, by which it stops (default: the study's first)")
    parser.add_argument("--shrink", type=int, default=2, help="px at a step (default 2)")
    parser.add_argument("--images", type=int, default=3, help="validation images whose maps are read (default 3)")
    own, words = parser.parse_known_args(argv)
    try:
        given, options = arguments(words)
        study, paths, _ = open_study(given, options)
        metric = own.metric or next(iter(study.metrics))
        lower = lower_is_better(metric)
        grid = _require_grid(study, given, metric)
        trainer = _Trainer(study, paths, words, grid, given.seeds or study.seeds, metric, own.by, own.images)
        steps, why = search(grid.values[0], trainer.read, own.shrink, lower, own.by)
        best = (min if lower else max)(steps, key=lambda step: step.metric)
        trainer.run(best.kernels, study.part)
        print(trainer.report(steps, why, best))
    except _FailedError as failed:
        return failed.status
    except Exception as error:
        return told(error)
    return 0


class _FailedError(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


def _require_grid(study: Study, given: argparse.Namespace, metric: str) -> Grid:
    if study.grid is None:
        raise ValueError(f"study {study.name} has no grid of kernels: take configs/studies/dcn_kernels.json")
    if metric not in study.metrics:
        raise ValueError(f"study {study.name} has no metric {metric!r}: {did_you_mean(metric, study.metrics)}")
    for name in ("variants", "part", "report_only", "minutes"):
        if getattr(given, name):
            raise ValueError(f"--{name} is an option of a study that the search does not have: leave it out")
    return study.grid


@dataclass
class _Trainer:
    """Trains triples with the study's seeds, those that are not complete, and reads them on the validation images."""

    study: Study
    paths: StudyPaths
    words: list[str]
    grid: Grid
    seeds: Sequence[int]
    metric: str
    statistic: str
    images: int

    def run(self, kernels: Sequence[int], part: str) -> None:
        """Train with these kernels and measure on a part; of the study's first kernels the same."""
        status = run_study([*self.words, "--part", part, f"--{self.grid.name}", json.dumps([list(kernels)])])
        if status:
            raise _FailedError(status)

    def read(self, kernels: tuple[int, ...]) -> tuple[float, dict[str, float]]:
        """The metric on the validation images and the statistic of each branch, means over the seeds."""
        self.run(kernels, "validation")
        study, name = self.study.with_values([list(kernels)]), self.grid.name_of(kernels)
        trials = [Trial(study, self.paths, name, seed, fold) for seed in self.seeds for fold in study.folds or (None,)]
        images = tuning_images(trials[0], self.images)
        values = branch_values([maps_of(trial, images) for trial in trials], name, self.statistic)
        return self.measured(kernels, "validation"), values

    def measured(self, kernels: tuple[int, ...], part: str) -> float:
        """The metric on a part with the study's first test-time augmentation, mean over the seeds."""
        study, name = self.study.with_values([list(kernels)]), self.grid.name_of(kernels)
        rows = collect(study, self.paths)
        own = rows[(rows.variant == name) & (rows.part == part) & (rows.metric == self.metric)]
        return float(own[(own.tta == study.tta[0]) & own.seed.isin(self.seeds)].value.mean())

    def report(self, steps: Sequence[Step], why: str, best: Step) -> str:
        """Write ``kernel_search/STATISTIC.csv`` and ``.md``; the text."""
        statistic, metric, part = self.statistic, self.metric, self.study.part
        stem = self.paths.folder / "kernel_search" / statistic
        told = [f"{statistic} of {name}" for name in steps[0].statistics]
        head = ["kernels", f"validation {metric}", *told, "does least"]
        rows = [[", ".join(map(str, s.kernels)), s.metric, *s.statistics.values(), s.branch] for s in steps]
        write_csv(f"{stem}.csv", head, rows, digits=6)
        shown = [[cell if isinstance(cell, str) else f"{cell:.4f}" for cell in row] for row in rows]
        ends = {step.kernels: self.measured(step.kernels, part) for step in (steps[0], best)}
        chosen = "; ".join(f"{', '.join(map(str, kernels))}: {value:.4f}" for kernels, value in ends.items())
        text = (
            f"**{self.study.title}**: kernels chosen by the branch of the least {statistic}\n\n"
            f"{markdown_table(head, shown)}\n\nIt ended after {len(steps)} triples because {why}. {metric} on part "
            f"{part} of the first and of the best triple: {chosen}.\n"
        )
        write_text(f"{stem}.md", text)
        return text


if __name__ == "__main__":
    sys.exit(main())
