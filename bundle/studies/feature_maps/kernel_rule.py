"""The rule of Takaya et al. (2018): look at the maps, and shrink the kernel of the branch that does too little.

Their one run a triple could not tell whether that beats any other change of a kernel. Here every two triples that
differ in one kernel are a trial of it, with the mean over seeds on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from bundle.metrics.selection import lower_is_better
from bundle.studies.definition import Grid, Study
from bundle.studies.feature_maps.branch_maps import TrialMaps
from bundle.studies.feature_maps.map_statistics import STATISTICS, SUM, weakest
from bundle.studies.summary import repeats_of


class Pair(NamedTuple):
    """One variant and another that differs in one kernel only, the smaller one.

    Attributes:
        larger, smaller: names of the variants.
        branch: whose kernel differs.
        from_kernel, to_kernel: px.
        weakest: statistic -> the branch that does least in ``larger`` by it: the rule asks for this pair's step
            when it is ``branch``, and says nothing of it otherwise.
        contrast_change: of ``branch``'s map, smaller less larger, mean over common repeats.
        metric_changes: metric -> change of each common repeat, smaller less larger.
    """

    larger: str
    smaller: str
    branch: str
    from_kernel: int
    to_kernel: int
    weakest: Mapping[str, str]
    contrast_change: float
    metric_changes: Mapping[str, tuple[float, ...]]

    def asked(self, statistic: str = "contrast") -> bool:
        return self.branch == self.weakest[statistic]

    def better(self, metric: str) -> bool | None:
        """Whether the smaller kernel is better in the mean; None without a common repeat."""
        changes = self.metric_changes[metric]
        return _better(metric, float(np.mean(changes))) if changes else None

    def agreed(self, metric: str) -> bool:
        """Whether every repeat says what the mean says."""
        return len({_better(metric, change) for change in self.metric_changes[metric]}) == 1


def branch_values(found: Sequence[TrialMaps], variant: str, statistic: str = "contrast") -> dict[str, float]:
    """A statistic of each branch, the mean over the variant's repeats."""
    runs = [run for run in found if run.trial.variant == variant]
    names = [name for name in runs[0].statistics if name != SUM] if runs else []
    return {name: float(np.mean([getattr(run.statistics[name], statistic) for run in runs])) for name in names}


def pairs(study: Study, found: Sequence[TrialMaps], values: pd.DataFrame) -> list[Pair]:
    """All pairs of variants of the study's grid that differ in exactly one kernel."""
    kernels = {run.trial.variant: run.kernels for run in found if Grid.value_of(run.trial.variant)}
    least = {
        variant: {name: weakest(branch_values(found, variant, name), name) for name in STATISTICS}
        for variant in kernels
    }
    by_run = {(run.trial.variant, (run.trial.seed, run.trial.fold)): run.statistics for run in found}
    repeats = repeats_of(study, values)
    trials = []
    for one, other in combinations([variant for variant in study.variants if variant in kernels], 2):
        differing = [k for k, (a, b) in enumerate(zip(kernels[one], kernels[other], strict=True)) if a != b]
        if len(differing) != 1:
            continue
        (place,) = differing
        larger, smaller = (one, other) if kernels[one][place] > kernels[other][place] else (other, one)
        branch = f"F{place + 1}"
        common = [repeat for variant, repeat in by_run if variant == larger and (smaller, repeat) in by_run]
        changes = [
            by_run[smaller, repeat][branch].contrast - by_run[larger, repeat][branch].contrast for repeat in common
        ]
        trials.append(
            Pair(
                *(larger, smaller, branch, kernels[larger][place], kernels[smaller][place]),
                *(least[larger], float(np.mean(changes)) if changes else math.nan),
                {metric: _changes(repeats, (study.tta[0], metric), larger, smaller) for metric in study.metrics},
            )
        )
    return trials


def _changes(repeats: pd.DataFrame, of: tuple[str, str], larger: str, smaller: str) -> tuple[float, ...]:
    """Of one metric, in the repeats that have it of both."""
    if not {(larger, *of), (smaller, *of)} <= set(repeats):
        return ()
    return tuple((repeats[(smaller, *of)] - repeats[(larger, *of)]).dropna())


def _better(metric: str, change: float) -> bool:
    return change < 0 if lower_is_better(metric) else change > 0
