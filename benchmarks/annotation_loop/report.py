"""What the rounds measured: every value, a table of means, and curves over the number of annotated frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.annotation_loop.loop import START
from benchmarks.annotation_loop.plan import STRATEGIES
from bundle import atomic
from bundle.studies.summary_chart import plain_axes, save
from bundle.studies.summary_markdown import with_spread

__all__ = ["curves", "draw", "markdown", "write_report"]

#: Okabe and Ito's colours, distinct for any kind of colour vision; the marks are distinct without colour
_LOOK = {"random": ("#000000", "D"), "epistemic": ("#0072B2", "o"), "border": ("#D55E00", "s")}
_GREY = "#444444"
_COLUMNS = ("seed", "strategy", "round", "annotated", "seg", "added", "train_seconds", "score_seconds")
#: strategy -> number of annotated frames -> seed -> SEG
Curves = Mapping[str, Mapping[int, Mapping[int, float]]]


def write_report(records: Sequence[Mapping[str, Any]], folder: Path, truth: str) -> tuple[list[Path], str]:
    """Write ``results.csv``, ``summary.md``, ``curve.png`` and ``curve.svg``; ``truth`` is what SEG was measured on.

    Returns:
        the files, and the table in Markdown.
    """
    rows = []
    order = (START, *STRATEGIES)
    for record in sorted(records, key=lambda r: (r["seed"], order.index(r["strategy"]), r["round"])):
        added = record["frames"][-record["added"] :]
        row = {**record, "annotated": len(record["frames"]), "seg": f"{record['seg']:.6g}", "added": " ".join(added)}
        rows.append([row.get(column, "") for column in _COLUMNS])
    atomic.write_csv(folder / "results.csv", _COLUMNS, rows)
    found = curves(records)
    text = markdown(found, truth)
    atomic.write_text(folder / "summary.md", text)
    return [folder / "results.csv", folder / "summary.md", *save(draw(found, truth), folder / "curve")], text


def curves(records: Sequence[Mapping[str, Any]]) -> Curves:
    """The values of each strategy; the first round, which all of a seed share, is in each of them."""
    there = [name for name in STRATEGIES if any(record["strategy"] == name for record in records)] or [STRATEGIES[0]]
    found: dict[str, dict[int, dict[int, float]]] = {name: {} for name in there}
    for record in records:
        for name in there if record["strategy"] == START else [record["strategy"]]:
            found[name].setdefault(len(record["frames"]), {})[record["seed"]] = record["seg"]
    return {name: dict(sorted(values.items())) for name, values in found.items()}


def markdown(found: Curves, truth: str) -> str:
    """Mean and standard deviation over the seeds, and paired differences from the first strategy."""
    first, *others = found
    head = ["annotated frames", *found, *(f"{name} − {first}" for name in others)]
    lines = [head, ["---:"] * len(head)]
    for count in sorted(set().union(*found.values())):
        cells = [_spread(list(found[name].get(count, {}).values())) for name in found]
        reference = found[first].get(count, {})
        for name in others:
            pairs = [value - reference[seed] for seed, value in found[name].get(count, {}).items() if seed in reference]
            better = sum(difference > 0 for difference in pairs)
            cells.append(f"{_spread(pairs, '+')} ({better}/{len(pairs)} better)" if pairs else "")
        lines.append([str(count), *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    seeds = sorted({seed for values in found.values() for by_seed in values.values() for seed in by_seed})
    numbers = ", ".join(map(str, seeds))
    return (
        f"SEG on held-out frames by {truth} truth, mean ± standard deviation over seeds {numbers}; differences are "
        f"paired by seed. With the fewest frames all strategies are the same network.\n\n{table}\n"
    )


def draw(found: Curves, truth: str) -> Figure:
    """SEG over the number of annotated frames: a dot a seed, a line through the means."""
    figure = Figure(figsize=(5.6, 3.6), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    counts = sorted(set().union(*found.values()))
    aside = 0.12 * min(np.diff(counts), default=1)
    for place, (name, values) in enumerate(found.items()):
        colour, mark = _LOOK[name]
        shift = aside * (place - (len(found) - 1) / 2)
        x = [count + shift for count in values]
        axes.plot(x, [np.mean(list(by_seed.values())) for by_seed in values.values()], color=colour, linewidth=1.6)
        dots = [(at, value) for at, by_seed in zip(x, values.values(), strict=True) for value in by_seed.values()]
        across, up = zip(*dots, strict=True)
        drawn = axes.scatter(across, up, s=18, c=colour, marker=mark, alpha=0.75, zorder=3, label=name)
        drawn.set(edgecolor="white", linewidth=0.5)
    axes.set_title(f"SEG on held-out frames ({truth})", loc="left", fontsize=10, fontweight="bold", color="#111111")
    axes.set_title("higher is better", loc="right", fontsize=8, color=_GREY)
    axes.set_xlabel("annotated frames; dots: seeds, lines: means", fontsize=8, color=_GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes, "y")
    axes.legend(frameon=False, fontsize=8, loc="best")
    return figure


def _spread(values: Sequence[float], sign: str = "") -> str:
    return with_spread(float(np.mean(values)), float(pd.Series(values).std()), ".3f", sign) if values else ""
