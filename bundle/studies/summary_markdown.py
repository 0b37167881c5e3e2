"""The tables of a study in Markdown: values, and paired differences from the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import f_oneway

from bundle.metrics.selection import lower_is_better
from bundle.studies.definition import Study
from bundle.studies.summary import Summary, repeats_of

#: metric -> summary, of one variant and tta
_Line = dict[str, Summary]


def markdown(study: Study, values: pd.DataFrame, summaries: Sequence[Summary]) -> str:
    """Two tables, a line for each variant and tta; numbers of a metric have the digits its spread allows."""
    lines: dict[tuple[str, str], _Line] = {}
    for each in summaries:
        lines.setdefault((each.variant, each.tta), {})[each.metric] = each
    if not lines:
        return f"**{study.title}**: nothing has been measured on part {study.part} yet.\n"
    forms = formats_of(study, summaries)
    head = [f"{label} {'↓' if lower_is_better(metric) else '↑'}" for metric, label in study.metrics.items()]
    repeats = "seeds and folds" if study.folds else "seeds"
    minutes = values.drop_duplicates(["variant", "seed", "fold"]).groupby("variant").minutes.mean()
    measured, compared = [], []
    for (variant, tta), line in lines.items():
        name = [study.variants[variant].label, tta]
        runs = sorted({each.n for each in line.values()})
        known = "" if math.isnan(minutes[variant]) else f"{minutes[variant]:.1f}"
        several = "-".join(map(str, dict.fromkeys([runs[0], runs[-1]])))
        measured.append([*name, several, known, *measured_cells(line, forms)])
        if any(each.pairs for each in line.values()):
            compared.append([*name, *_differences(line, forms)])
    text = (
        f"**{study.title}**, part {study.part}: mean ± standard deviation over {repeats}; ↓ lower is better, ↑ higher. "
        f"Minutes are those of the training's steps.\n\n"
        f"{markdown_table(['', 'tta', 'runs', 'minutes', *head], measured)}\n"
    )
    if not compared:
        return text
    first, reference = study.reference_tta[0], study.variants[study.reference].label
    return (
        f"{text}\nDifferences from *{reference}* at the same tta (its own ones: from {first}), mean ± "
        f"standard deviation over pairs of equal {repeats}, and in how many pairs the difference is for the worse:\n\n"
        f"{markdown_table(['', 'tta', *head], compared)}\n{_grid_differs(study, values)}"
    )


def _grid_differs(study: Study, values: pd.DataFrame) -> str:
    """Whether the values of a grid, of those with two runs at least, differ by more than their seeds do."""
    grid = study.grid
    if grid is None or study.folds:
        return ""
    repeats, told = repeats_of(study, values), []
    for tta, metric in product(study.reference_tta, study.metrics):
        names = [(variant, tta, metric) for variant in study.variants if grid.value_of(variant) is not None]
        groups = [own for name in names if name in repeats and len(own := repeats[name].dropna()) > 1]
        if len(groups) > 1 and any(own.std() > 0 for own in groups):
            f, p = f_oneway(*groups)
            within = sum(map(len, groups)) - len(groups)
            told.append(f"{study.metrics[metric]} ({tta}): F({len(groups) - 1}, {within}) = {f:.2f}, p = {p:.2g}")
    return f"\nDo the values of {grid.name} differ by more than seeds do? {'; '.join(told)}.\n" if told else ""


def formats_of(study: Study, summaries: Sequence[Summary]) -> dict[str, str]:
    """metric -> how its numbers are written, all alike."""
    return {metric: f".{digits_of([s for s in summaries if s.metric == metric])}f" for metric in study.metrics}


def measured_cells(line: _Line, forms: dict[str, str]) -> Iterator[str]:
    """A cell for each metric, empty where it was not measured."""
    for metric, form in forms.items():
        yield with_spread(line[metric].mean, line[metric].std, form) if metric in line else ""


def _differences(line: _Line, forms: dict[str, str]) -> Iterator[str]:
    for metric, form in forms.items():
        each = line.get(metric)
        if each is None or each.pairs == 0:
            yield ""
            continue
        spread = with_spread(each.difference, each.difference_std, form, sign="+")
        yield f"{spread} ({each.worse}/{each.pairs} worse)"


def with_spread(mean: float, std: float, form: str, sign: str = "") -> str:
    """``0.123 ± 0.004``; without a spread, when that is NaN."""
    spread = "" if math.isnan(std) else f" ± {std:{form}}"
    return f"{mean:{sign}{form}}{spread}".replace("-", "−")


def spread_of(values: pd.Series, form: str, sign: str = "") -> str:
    """Mean and standard deviation of a sample; empty without any."""
    return with_spread(values.mean(), values.std(), form, sign) if len(values) else ""


def digits_of(summaries: Sequence[Summary]) -> int:
    """Decimals that show two significant digits of the usual spread; without any, four of the largest mean."""
    spreads = [summary.std for summary in summaries if summary.std > 0 and math.isfinite(summary.std)]
    if spreads:
        return max(0, 1 - math.floor(math.log10(float(np.median(spreads)))))
    largest = max((abs(summary.mean) for summary in summaries if math.isfinite(summary.mean)), default=0)
    return max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 4


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """All columns but the first, and that of the tta, are numbers, which stand to the right."""
    rule = ["---", *("---" if name == "tta" else "---:" for name in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])
