"""Learning curves as SVG: a chart a metric, a colour a row of the table."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bundle.metrics.selection import lower_is_better
from bundle.studies.comparison.run_table import Row
from bundle.studies.comparison.run_values import TRAIN_LOSS, Curve, running_mean

#: Okabe and Ito's colours for all kinds of colour vision, without the yellow, which is faint on white
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
#: in units of the line's width, as in SVG's stroke-dasharray
DASHES = ((), (4, 1.6), (1, 1.4), (6, 1.5, 1, 1.5), (9, 2, 2, 2))
_INCHES = (5.0, 3.1)
_ROW_INCHES = 0.115  # of the numbers at the ends of the lines, where there are many
_POINTS = 500  # of one line: more cannot be seen at this size
_LOGARITHMIC_FROM = 8  # times the lowest value


@dataclass(frozen=True)
class Style:
    colour: str
    dash: tuple[float, ...]


def style(number: int) -> Style:
    """Of the row with that number, from 1: seven colours, then the same ones dashed in four ways."""
    return Style(_COLOURS[(number - 1) % 7], DASHES[(number - 1) // 7 % len(DASHES)])


def chart(
    metric: str, rows: Sequence[Row], curves: Mapping[str, Mapping[str, Curve]], kept: Mapping[str, int], window: int
) -> str | None:
    """SVG of one metric over the iterations.

    Several runs of one row are thin lines of its colour, and their mean, of those that finished, is thick. The number
    of the row stands at the end of its line. Dots mark the validation whose network was kept.

    Args:
        metric: ``train/loss``, which is shown as the running mean of ``window`` steps, or ``val/<metric>``.
        rows: of the table.
        curves: run id -> metric -> curve.
        kept: run id -> step.
        window: steps.

    Returns:
        None when no run has this metric.
    """
    lines = {row.number: found for row in rows if (found := _lines(metric, row, curves, window))}
    if not lines:
        return None
    wide, high = _INCHES
    figure = Figure(figsize=(wide, max(high, 1 + _ROW_INCHES * len(lines))), layout="constrained")
    axes = figure.subplots()
    ends = []
    finished = {run.run_id for row in rows for run in row.runs if run.finished}
    for number, found in lines.items():
        look = style(number)
        options: dict[str, Any] = {"color": look.colour, "linestyle": (0, look.dash) if look.dash else "-"}
        for run_id, (steps, values) in found.items():
            if len(found) > 1:
                axes.plot(*_thin(steps, values), linewidth=0.7, alpha=0.6, **options)
            at = steps == kept.get(run_id, -1)
            if metric != TRAIN_LOSS:
                axes.plot(steps[at], values[at], "o", markersize=4.5, color=look.colour, markeredgecolor="white")
        steps, values = _mean([found[i] for i in found if i in finished] or list(found.values()))
        axes.plot(*_thin(steps, values), linewidth=1.6, **options)
        ends.append((number, float(steps[-1]), float(values[-1])))
    everything = np.concatenate([values for found in lines.values() for _, values in found.values()])
    if "loss" in metric and everything.min() > 0 and everything.max() > _LOGARITHMIC_FROM * everything.min():
        axes.set_yscale("log")
    _dress(axes, metric)
    _number(figure, axes, ends)
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": metric}):  # the same runs give the same file
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    return stream.getvalue().decode()


def _lines(metric: str, row: Row, curves: Mapping[str, Mapping[str, Curve]], window: int) -> dict[str, Curve]:
    found = {run.run_id: curves[run.run_id][metric] for run in row.runs if metric in curves.get(run.run_id, {})}
    if metric == TRAIN_LOSS:
        found = {run_id: (steps, running_mean(values, window)) for run_id, (steps, values) in found.items()}
    return found


def _mean(lines: Sequence[Curve]) -> Curve:
    """Of several lines, at the steps that all of them have; the longest line where they share none."""
    common = reduce(np.intersect1d, [steps for steps, _ in lines])
    if len(common) == 0:
        return max(lines, key=lambda line: len(line[0]))
    return common, np.mean([values[np.searchsorted(steps, common)] for steps, values in lines], axis=0)


def _thin(steps: np.ndarray, values: np.ndarray) -> Curve:
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _POINTS)).round().astype(int))
    return steps[chosen], values[chosen]


def _dress(axes: Any, metric: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(which="both", labelsize=8, color="#999999", labelcolor="#444444")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.set_xlabel("iteration", fontsize=8.5, color="#444444")
    direction = "lower" if lower_is_better(metric) else "higher"
    log = ", logarithmic" if axes.get_yscale() == "log" else ""
    # parse_math: a name may hold a dollar sign
    axes.set_title(metric, loc="left", fontsize=10, fontweight="bold", color="#1a1a1a", parse_math=False)
    axes.set_title(f"{direction} is better{log}", loc="right", fontsize=8, color="#666666")


def _number(figure: Figure, axes: Any, ends: Sequence[tuple[int, float, float]]) -> None:
    """Row numbers right of the lines' ends, pushed apart where they would cover one another."""
    FigureCanvasSVG(figure)
    figure.draw_without_rendering()
    ordered = sorted(ends, key=lambda end: end[2])
    heights = axes.transAxes.inverted().transform(axes.transData.transform([(x, y) for _, x, y in ordered]))[:, 1]
    apart = _ROW_INCHES * figure.dpi / axes.get_window_extent().height
    for (number, _, _), place in zip(ordered, spread(heights, apart), strict=True):
        options = {"fontsize": 7.5, "fontweight": "bold", "color": style(number).colour}
        axes.text(1.015, place, str(number), transform=axes.transAxes, va="center", clip_on=False, **options)


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Ascending heights, pushed up and then, from 1 on, down until they are ``apart``."""
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + apart) if places else height)
    top = 1.0
    for i in reversed(range(len(places))):
        places[i] = min(places[i], top)
        top = places[i] - apart
    return places
