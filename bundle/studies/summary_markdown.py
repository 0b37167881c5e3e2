"""The tables of a study in Markdown: values, and paired differences from the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from bundle.metrics.selection import lower_is_better
from bundle.studies.definition import Study
from bundle.studies.summary import Row, Summary, contrast

__all__ = ["digits_of", "markdown", "with_spread"]


def markdown(study: Study, rows: Sequence[Row], summaries: Sequence[Summary]) -> str:
    """Two tables, a line for each variant and averaging; numbers of a metric have the digits its spread allows."""
    found = {(summary.variant, summary.averaging, summary.metric): summary for summary in summaries}
    lines = list(dict.fromkeys((summary.variant, summary.averaging) for summary in summaries))
    if not lines:
        return f"**{study.title}**: nothing has been measured on part {study.part} yet.\n"
    digits = {
        metric: digits_of([summary for summary in summaries if summary.metric == metric]) for metric in study.metrics
    }
    head = [f"{label} {'↓' if lower_is_better(metric) else '↑'}" for metric, label in study.metrics.items()]
    repeats = "seeds and folds" if study.folds else "seeds"
    values = [
        [*_name(study, *line), _runs(study, found, line), _minutes(rows, line[0]), *_cells(study, found, line, digits)]
        for line in lines
    ]
    compared = [line for line in lines if contrast(study, *line) is not None]
    differences = [[*_name(study, *line), *_differences(study, found, line, digits)] for line in compared]
    text = (
        f"**{study.title}**, part {study.part}: mean ± standard deviation over {repeats}; ↓ lower is better, ↑ higher. "
        f"Minutes are those of the training's steps.\n\n{_table(['', 'averaging', 'runs', 'minutes', *head], values)}\n"
    )
    if not differences:
        return text
    first, reference = study.reference_averaging[0], study.variants[study.reference].label
    return (
        f"{text}\nDifferences from *{reference}* at the same averaging (its own averagings: from {first}), mean ± "
        f"standard deviation over pairs of equal {repeats}, and in how many pairs the difference is for the worse:\n\n"
        f"{_table(['', 'averaging', *head], differences)}\n"
    )


_Found = dict[tuple[str, str, str], Summary]


def _name(study: Study, variant: str, averaging: str) -> list[str]:
    return [study.variants[variant].label, averaging]


def _runs(study: Study, found: _Found, line: tuple[str, str]) -> str:
    counts = {found[*line, metric].n for metric in study.metrics if (*line, metric) in found}
    return "-".join(str(count) for count in sorted({min(counts), max(counts)}))


def _minutes(rows: Sequence[Row], variant: str) -> str:
    times = {(row.seed, row.fold): row.minutes for row in rows if row.variant == variant}
    known = [minutes for minutes in times.values() if not math.isnan(minutes)]
    return f"{np.mean(known):.1f}" if known else ""


def _cells(study: Study, found: _Found, line: tuple[str, str], digits: dict[str, int]) -> Iterator[str]:
    for metric in study.metrics:
        summary = found.get((*line, metric))
        yield "" if summary is None else with_spread(summary.mean, summary.std, f".{digits[metric]}f")


def _differences(study: Study, found: _Found, line: tuple[str, str], digits: dict[str, int]) -> Iterator[str]:
    for metric in study.metrics:
        summary = found.get((*line, metric))
        if summary is None or summary.pairs == 0:
            yield ""
            continue
        spread = with_spread(summary.difference, summary.difference_std, f".{digits[metric]}f", sign="+")
        yield f"{spread} ({summary.worse}/{summary.pairs} worse)"


def with_spread(mean: float, std: float, form: str, sign: str = "") -> str:
    """``0.123 ± 0.004``; without a spread, when that is NaN."""
    spread = "" if math.isnan(std) else f" ± {std:{form}}"
    return f"{mean:{sign}{form}}{spread}".replace("-", "−")


def digits_of(summaries: Sequence[Summary]) -> int:
    """Decimals that show two significant digits of the usual spread; without any, four of the largest mean."""
    spreads = [summary.std for summary in summaries if summary.std > 0 and math.isfinite(summary.std)]
    if spreads:
        return max(0, 1 - math.floor(math.log10(float(np.median(spreads)))))
    largest = max((abs(summary.mean) for summary in summaries if math.isfinite(summary.mean)), default=0)
    return max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 4


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])
