"""What a study measured: every value, as one table, and what follows from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bundle.metrics.selection import lower_is_better
from bundle.model.renamed import successor
from bundle.studies.definition import Study
from bundle.studies.trial import Row, StudyPaths, recorded_trials


class Summary(NamedTuple):
    """One metric of one variant over its repeats, and what it differs from by.

    ``against`` names that, ``<variant>/<tta>``; ``difference`` is the mean over the ``pairs`` of equal seed and fold,
    ``worse`` in how many of them the variant was worse. Standard deviations are those of a sample; NaN, where there
    is none.
    """

    variant: str
    tta: str
    metric: str
    n: int
    mean: float
    std: float
    min: float
    max: float
    against: str
    pairs: int
    difference: float
    difference_std: float
    worse: int


def collect(study: Study, paths: StudyPaths) -> pd.DataFrame:
    """The values of all evaluations that are there, also of seeds and parts that are not asked for now.

    Returns:
        a line for each :class:`bundle.studies.trial.Row`.
    """
    return pd.DataFrame([row for trial in recorded_trials(study, paths) for row in trial.rows()], columns=Row._fields)


def read_values(path: Path) -> pd.DataFrame:
    """Read ``study.csv``: what :func:`collect` gave.

    Raises:
        FileNotFoundError: when it is not there.
        ValueError: when its columns are others.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run the study first, or name its --output_dir")
    empty = dict.fromkeys(("fold", "value", "minutes"), "")
    values = pd.read_csv(path, dtype={"variant": str}, keep_default_na=False, na_values=empty)
    values = values.rename(columns=lambda name: entry.new if (entry := successor("study", name)) else name)
    if tuple(values.columns) != Row._fields:
        raise ValueError(f"{path} must have the columns {', '.join(Row._fields)}, got {', '.join(values.columns)}")
    return values


def repeats_of(study: Study, values: pd.DataFrame) -> pd.DataFrame:
    """The values of the study's part: a line for each (seed, fold or -1), a column for each (variant, tta, metric).

    A column has a value at least.
    """
    own = values[values.part == study.part]
    repeats = own.assign(fold=own.fold.fillna(-1).astype(int)).pivot(
        index=["seed", "fold"], columns=["variant", "tta", "metric"], values="value"
    )
    return repeats.dropna(axis="columns", how="all")


def contrast(study: Study, variant: str, tta: str) -> tuple[str, str] | None:
    """What a variant is compared with: the reference of the same tta; another tta of it, with its first."""
    if variant != study.reference:
        return study.reference, tta
    first = study.reference_tta[0]
    return None if tta == first else (variant, first)


def summarise(study: Study, repeats: pd.DataFrame) -> list[Summary]:
    """Mean, spread and paired differences of :func:`repeats_of`, in the order of variants, tta and metrics."""
    nothing = pd.Series(math.nan, repeats.index)
    found = []
    for variant in study.variants:
        for tta in study.reference_tta:
            for metric in study.metrics:
                if (variant, tta, metric) not in repeats:
                    continue
                own, against = repeats[variant, tta, metric], contrast(study, variant, tta)
                other = repeats.get((*against, metric), nothing) if against else nothing
                differences = (own - other).dropna()
                worse = differences > 0 if lower_is_better(metric) else differences < 0
                found.append(
                    Summary(
                        *(variant, tta, metric, int(own.count()), own.mean(), own.std(), own.min(), own.max()),
                        *("/".join(against or ()), len(differences)),
                        *(differences.mean() if len(differences) else math.nan, differences.std(), int(worse.sum())),
                    )
                )
    return found
