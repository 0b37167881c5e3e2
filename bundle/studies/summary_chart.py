"""The chart of a study: a panel for each metric, a line for each variant, every repeat a dot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from bundle.atomic import replacing
from bundle.metrics.selection import lower_is_better
from bundle.studies.definition import Study

# Okabe and Ito's colours, distinct for any kind of colour vision; the marks are distinct without colour
_REFERENCE, _VARIANT, _TTA = ("#000000", "D"), ("#0072B2", "o"), ("#D55E00", "s")
_GREY, _RULE, _BAND = "#444444", "#BBBBBB", "#EDEDED"
_PANEL_INCH, _LINE_INCH, _COLUMNS = 2.15, 0.29, 4
_DPI = 200
# height that the dots of a line share, of the line's
_SPREAD = 0.48


def lines_of(study: Study, repeats: pd.DataFrame) -> list[tuple[str, str]]:
    """(variant, tta) of the lines: every variant with the first tta, then the reference with the others."""
    first, *others = study.reference_tta
    wanted = [(variant, first) for variant in study.variants] + [(study.reference, tta) for tta in others]
    there = {(variant, tta) for variant, tta, _ in repeats}
    return [line for line in wanted if line in there]


def draw(study: Study, repeats: pd.DataFrame) -> Figure:
    """Draw the values of the study's part. The vertical line is the mean of the reference, the band its range.

    Args:
        study: gives order, labels and metrics.
        repeats: see :func:`bundle.studies.summary.repeats_of`.

    Raises:
        ValueError: when there is none.
    """
    lines = lines_of(study, repeats)
    if not lines:
        raise ValueError(f"nothing has been measured on part {study.part!r} of study {study.name} yet")
    deep = -(-len(study.metrics) // _COLUMNS)
    columns = -(-len(study.metrics) // deep)
    labels = [_label(study, *line) for line in lines]
    margin = 0.085 * max(map(len, labels))
    size = margin + _PANEL_INCH * columns, 0.85 + deep * (0.95 + _LINE_INCH * len(lines))
    figure = Figure(figsize=size, dpi=_DPI, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    FigureCanvasAgg(figure)
    figure.suptitle(study.title, fontsize=10.5, fontweight="bold", color="#111111")
    panels = figure.subplots(deep, columns, squeeze=False)
    for number, (metric, label) in enumerate(study.metrics.items()):
        axes = panels.flat[number]
        _panel(axes, study, repeats, lines, metric)
        better = "← lower is better" if lower_is_better(metric) else "higher is better →"
        axes.set_title(label, fontsize=9.5, color="#111111", pad=5)
        axes.set_xlabel(better, fontsize=8, color=_GREY)
        axes.set_yticks(range(len(lines)), labels if number % columns == 0 else [""] * len(lines))
    for axes in panels.flat[len(study.metrics) :]:
        axes.set_visible(False)
    figure.supxlabel(_legend(study, repeats), fontsize=7.5, color=_GREY)
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``<stem>.png`` and ``<stem>.svg``; the same figure gives the same bytes."""
    files = []
    for suffix, without in ((".png", "Software"), (".svg", "Date")):
        files.append(stem.with_name(f"{stem.name}{suffix}"))
        with rc_context({"svg.hashsalt": stem.name}), replacing(files[-1]) as part:
            figure.savefig(part, metadata={without: None})
    return files


def _panel(axes: Axes, study: Study, repeats: pd.DataFrame, lines: Sequence[tuple[str, str]], metric: str) -> None:
    # the same repeat at the same height in every line
    heights = _SPREAD * ((np.arange(len(repeats)) + 0.5) / len(repeats) - 0.5)
    first = study.reference, study.reference_tta[0]
    for place, line in enumerate(lines):
        values = repeats.get((*line, metric), pd.Series(np.nan, repeats.index))
        mean, there = values.mean(), values.notna()
        colour, mark = _REFERENCE if line == first else _TTA if line[0] == study.reference else _VARIANT
        if line == first and there.any():
            axes.axvspan(values.min(), values.max(), color=_BAND, linewidth=0, zorder=0)
            axes.axvline(mean, color=_REFERENCE[0], linewidth=0.9, zorder=1)
        if there.any():
            axes.plot([mean, mean], [place - 0.33, place + 0.33], color=colour, linewidth=2.2, zorder=3)
        drawn = axes.scatter(values[there], place + heights[there], s=20, c=colour, marker=mark, alpha=0.75, zorder=4)
        drawn.set(edgecolor="white", linewidth=0.5)
    variants = sum(line[1] == first[1] for line in lines)
    if variants < len(lines):
        axes.axhline(variants - 0.5, color=_RULE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.ticklabel_format(axis="x", useOffset=False, style="plain")
    plain_axes(axes, "x")


def plain_axes(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Thin lines at the ticks of one axis, and no frame but the rule below."""
    axes.grid(axis=grid, color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", length=0, labelsize=8, labelcolor="#222222")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)


def _label(study: Study, variant: str, tta: str) -> str:
    label = study.variants[variant].label
    return label if tta == study.reference_tta[0] else f"{label}, tta {tta}"


def _legend(study: Study, repeats: pd.DataFrame) -> str:
    seeds = repeats.index.unique("seed")
    folds = [fold for fold in repeats.index.unique("fold") if fold >= 0]
    which = "; ".join(
        f"{name}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        for name, numbers in (("seed", seeds), ("fold", folds))
        if len(numbers)
    )
    part = study.part.replace("_", "-").capitalize()
    return (
        f"{part} images. Dots: single trainings, from top to bottom {which}. Bars: means.\n"
        f"Line and band: mean and range of the {study.variants[study.reference].label}."
    )
