"""Statistics of the maps and the rule's hits: ``statistics.csv``, ``pairs.csv`` and ``rule.md``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bundle.atomic import write_csv
from bundle.networks.dcn import STRIDES
from bundle.studies.definition import Study
from bundle.studies.feature_maps.branch_maps import TrialMaps
from bundle.studies.feature_maps.kernel_rule import Pair, branch_values
from bundle.studies.feature_maps.map_statistics import STATISTICS, SUM, weakest
from bundle.studies.summary_markdown import markdown_table, spread_of


def write_statistics(path: Path, found: Sequence[TrialMaps]) -> Path:
    """A line for every map of every run: :class:`MapStatistics`, and the share of the sum's contrast."""
    head = ("variant", "seed", "fold", "map", "kernel", "contrast", "share", "std", "frequency", "leftover")
    lines = [
        (
            *(run.trial.variant, run.trial.seed, run.trial.fold, name),
            None if name == SUM else run.kernels[int(name[1:]) - 1],
            *(own.contrast, own.contrast / (run.statistics[SUM].contrast or math.nan)),
            *(own.std, own.frequency, own.leftover),
        )
        for run in found
        for name, own in run.statistics.items()
    ]
    return write_csv(path, head, lines, digits=6)


def write_pairs(path: Path, study: Study, trials: Sequence[Pair]) -> Path:
    """A line for every pair; of a metric the mean change from the larger kernel to the smaller, and its spread."""
    head = [*Pair._fields[:5], *(f"weakest_by_{name}" for name in STATISTICS), "contrast_change"]
    head += [f"{metric}_{what}" for metric in study.metrics for what in ("change", "change_std", "repeats")]
    lines: list[list[Any]] = []
    for pair in trials:
        line = [*pair[:5], *(pair.weakest[name] for name in STATISTICS), pair.contrast_change]
        for changes in map(pd.Series, pair.metric_changes.values()):
            line += [changes.mean(), changes.std(), len(changes)]
        lines.append(line)
    return write_csv(path, head, lines, digits=6)


def rule_text(study: Study, found: Sequence[TrialMaps], trials: Sequence[Pair]) -> str:
    """The statistics, what the rule suggests for the reference, and how often it was right, in Markdown."""
    variants = [variant for variant in study.variants if any(run.trial.variant == variant for run in found)]
    parts = [f"**{study.title}**, validation images, mean ± standard deviation over repeats."]
    for statistic, meaning in STATISTICS.items():
        adds = " (those of the branches add up)" if statistic == "contrast" else ""
        parts += [f"*{statistic}*: {meaning}{adds}", statistics_table(study, found, variants, statistic)]
    parts += dict.fromkeys(_suggestion(study, found, statistic) for statistic in STATISTICS)
    if trials:
        parts += [_hits(study, trials), _contrast_hits(sorted({pair.branch for pair in trials}), trials)]
    return "\n\n".join(parts) + "\n"


def statistics_table(study: Study, found: Sequence[TrialMaps], variants: Sequence[str], statistic: str) -> str:
    """A line for each variant, a column for each map, in Markdown."""
    names = [*sorted({name for run in found for name in run.statistics} - {SUM}), SUM]
    lines = [
        [study.variants[variant].label, *(_cell(found, variant, name, statistic) for name in names)]
        for variant in variants
    ]
    return markdown_table(["", *names], lines)


def _suggestion(study: Study, found: Sequence[TrialMaps], statistic: str) -> str:
    label = study.variants[study.reference].label
    values = branch_values(found, study.reference, statistic)
    if not values:
        return f"The rule needs the maps of *{label}*, of which no run is complete yet."
    branch = weakest(values, statistic)
    place = int(branch[1:]) - 1
    kernel = next(run.kernels for run in found if run.trial.variant == study.reference)[place]
    smaller = list(range(kernel - 2, STRIDES[place] - 1, -2))
    step = f"try {', '.join(map(str, smaller))} px" if smaller else "it is as small as its stride already"
    return (
        f"The rule of Takaya et al., read from *{label}* by {statistic}: {branch} does least "
        f"({values[branch]:.2f}), so its kernel of {kernel} px should shrink: {step}."
    )


def _hits(study: Study, trials: Sequence[Pair]) -> str:
    of_reference = [pair for pair in trials if pair.larger == study.reference]
    groups = {"any branch": trials}
    for statistic in STATISTICS:
        groups[f"the weakest branch by {statistic}"] = [pair for pair in trials if pair.asked(statistic)]
        groups[f"another branch than that by {statistic}"] = [pair for pair in trials if not pair.asked(statistic)]
    groups["any branch of the reference"] = of_reference
    for statistic in STATISTICS:
        groups[f"the reference's weakest by {statistic}"] = [pair for pair in of_reference if pair.asked(statistic)]
    lines = [
        [name, str(len(group)), *(_count(group, metric) for metric in study.metrics)] for name, group in groups.items()
    ]
    return (
        "Pairs of variants that differ in one kernel: how often the smaller one is better on part "
        f"{study.part} in the mean over common repeats (in brackets: in every repeat). The rule is worth something "
        "where its line is above that of another branch.\n\n"
        f"{markdown_table(['kernel shrinks in', 'pairs', *study.metrics.values()], lines)}"
    )


def _count(group: Sequence[Pair], metric: str) -> str:
    known = [pair for pair in group if pair.better(metric) is not None]
    better = [pair for pair in known if pair.better(metric)]
    return f"{len(better)}/{len(known)} ({sum(pair.agreed(metric) for pair in better)})" if known else ""


def _contrast_hits(names: Sequence[str], trials: Sequence[Pair]) -> str:
    cells = []
    for name in names:
        changes = [pair.contrast_change for pair in trials if pair.branch == name]
        known = [change for change in changes if not math.isnan(change)]
        cells.append(f"{sum(change > 0 for change in known)}/{len(known)}" if known else "")
    head = ["", *names]
    return f"How often the smaller kernel raises its own map's contrast:\n\n{markdown_table(head, [['pairs', *cells]])}"


def _cell(found: Sequence[TrialMaps], variant: str, name: str, statistic: str) -> str:
    runs = [run for run in found if run.trial.variant == variant and name in run.statistics]
    return spread_of(pd.Series([getattr(run.statistics[name], statistic) for run in runs], dtype=float), ".2f")
