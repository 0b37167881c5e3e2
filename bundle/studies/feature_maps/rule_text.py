"""Contrasts and the rule's hits in words: ``contrasts.csv``, ``pairs.csv`` and ``rule.md``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bundle.atomic import write_csv
from bundle.networks.dcn import STRIDES
from bundle.studies.definition import Study
from bundle.studies.feature_maps.branch_maps import SUM, TrialMaps
from bundle.studies.feature_maps.kernel_rule import Pair, branch_contrasts, weakest
from bundle.studies.summary_markdown import markdown_table, with_spread

__all__ = ["rule_text", "write_contrasts", "write_pairs"]


def write_contrasts(path: Path, found: Sequence[TrialMaps]) -> Path:
    """A line for every map of every run; contrast and std in logits, share of the sum's contrast."""
    head = ("variant", "seed", "fold", "map", "kernel", "contrast", "share", "std")
    lines = [
        (
            *(run.trial.variant, run.trial.seed, run.trial.fold, name),
            None if name == SUM else run.kernels[int(name[1:]) - 1],
            *(own.difference, own.difference / run.contrasts[SUM].difference, own.std),
        )
        for run in found
        for name, own in run.contrasts.items()
    ]
    return write_csv(path, head, lines, digits=6)


def write_pairs(path: Path, study: Study, trials: Sequence[Pair]) -> Path:
    """A line for every pair; of a metric the mean change from the larger kernel to the smaller, and its spread."""
    head = [*Pair._fields[:6], "asked", "contrast_change"]
    head += [f"{metric}_{what}" for metric in study.metrics for what in ("change", "change_std", "repeats")]
    lines: list[list[Any]] = []
    for pair in trials:
        line = [*pair[:6], pair.asked, pair.contrast_change]
        for changes in map(pd.Series, pair.metric_changes.values()):
            line += [changes.mean(), changes.std(), len(changes)]
        lines.append(line)
    return write_csv(path, head, lines, digits=6)


def rule_text(study: Study, found: Sequence[TrialMaps], trials: Sequence[Pair]) -> str:
    """The contrasts, what the rule suggests for the reference, and how often it was right, in Markdown."""
    variants = [variant for variant in study.variants if any(run.trial.variant == variant for run in found)]
    names = list(dict.fromkeys(name for run in found for name in run.contrasts if name != SUM))
    lines = [
        [study.variants[variant].label, *(_contrast_cell(found, variant, name) for name in (*names, SUM))]
        for variant in variants
    ]
    parts = [
        f"**{study.title}**, validation images: contrast of each map in logits (mean over cells less mean over "
        f"background; those of the branches add up), mean ± standard deviation over repeats.\n\n"
        f"{markdown_table(['', *names, SUM], lines)}",
        _suggestion(study, found),
    ]
    if trials:
        parts += [_hits(study, trials), _contrast_hits(names, trials)]
    return "\n\n".join(parts) + "\n"


def _suggestion(study: Study, found: Sequence[TrialMaps]) -> str:
    label = study.variants[study.reference].label
    contrasts = branch_contrasts(found, study.reference)
    if not contrasts:
        return f"The rule needs the maps of *{label}*, of which no run is complete yet."
    branch = weakest(contrasts)
    place = int(branch[1:]) - 1
    kernel = next(run.kernels for run in found if run.trial.variant == study.reference)[place]
    smaller = list(range(kernel - 2, STRIDES[place] - 1, -2))
    step = f"try {', '.join(map(str, smaller))} px" if smaller else "it is as small as its stride already"
    return (
        f"The rule of Takaya et al., read from *{label}*: {branch} does least ({contrasts[branch]:.2f} logits), so its "
        f"kernel of {kernel} px should shrink: {step}."
    )


def _hits(study: Study, trials: Sequence[Pair]) -> str:
    of_reference = [pair for pair in trials if pair.larger == study.reference]
    groups = {
        "any branch": trials,
        "the weakest branch, as the rule asks": [pair for pair in trials if pair.asked],
        "another branch": [pair for pair in trials if not pair.asked],
        "any branch of the reference": of_reference,
        "the reference's weakest branch": [pair for pair in of_reference if pair.asked],
    }
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


def _contrast_cell(found: Sequence[TrialMaps], variant: str, name: str) -> str:
    runs = [run for run in found if run.trial.variant == variant and name in run.contrasts]
    values = [run.contrasts[name].difference for run in runs]
    if not values:
        return ""
    return with_spread(float(np.mean(values)), float(pd.Series(values).std()), ".2f")
