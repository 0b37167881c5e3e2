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
from bundle.studies.summary_markdown import spread_of

#: Okabe and Ito's colours, distinct for any kind of colour vision; the marks are distinct without colour
_LOOK = {"random": ("#000000", "D"), "epistemic": ("#0072B2", "o"), "border": ("#D55E00", "s")}
_GREY = "#444444"
_COLUMNS = ("seed", "strategy", "round", "annotated", "seg", "added", "train_seconds", "score_seconds")


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


def curves(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """SEG: a line for each (number of annotated frames, seed), a column for each strategy.

    The first round, which all of a seed share, is in each of them.
    """
    there = [name for name in STRATEGIES if any(record["strategy"] == name for record in records)] or [STRATEGIES[0]]
    rows = [
        (len(record["frames"]), record["seed"], name, record["seg"])
        for record in records
        for name in (there if record["strategy"] == START else [record["strategy"]])
    ]
    table = pd.DataFrame(rows, columns=["annotated", "seed", "strategy", "seg"])
    return table.pivot(index=["annotated", "seed"], columns="strategy", values="seg")[there]


def markdown(found: pd.DataFrame, truth: str) -> str:
    """Mean and standard deviation over the seeds, and paired differences from the first strategy."""
    first, *others = found
    head = ["annotated frames", *found, *(f"{name} − {first}" for name in others)]
    lines = [head, ["---:"] * len(head)]
    for count, values in found.groupby("annotated"):
        cells = [spread_of(values[name].dropna(), ".3f") for name in found]
        for name in others:
            pairs = (values[name] - values[first]).dropna()
            better = f" ({(pairs > 0).sum()}/{len(pairs)} better)" if len(pairs) else ""
            cells.append(f"{spread_of(pairs, '.3f', '+')}{better}")
        lines.append([str(count), *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    seeds = ", ".join(map(str, sorted(found.index.unique("seed"))))
    return (
        f"SEG on held-out frames by {truth} truth, mean ± standard deviation over seeds {seeds}; differences are "
        f"paired by seed. With the fewest frames all strategies are the same network.\n\n{table}\n"
    )


def draw(found: pd.DataFrame, truth: str) -> Figure:
    """SEG over the number of annotated frames: a dot a seed, a line through the means."""
    figure = Figure(figsize=(5.6, 3.6), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    aside = 0.12 * min(np.diff(found.index.unique("annotated")), default=1)
    for place, name in enumerate(found):
        colour, mark = _LOOK[name]
        shift = aside * (place - (len(found.columns) - 1) / 2)
        values = found[name].dropna()
        means, counts = values.groupby("annotated").mean(), values.index.get_level_values("annotated")
        axes.plot(means.index + shift, means, color=colour, linewidth=1.6)
        drawn = axes.scatter(counts + shift, values, s=18, c=colour, marker=mark, alpha=0.75, zorder=3, label=name)
        drawn.set(edgecolor="white", linewidth=0.5)
    axes.set_title(f"SEG on held-out frames ({truth})", loc="left", fontsize=10, fontweight="bold", color="#111111")
    axes.set_title("higher is better", loc="right", fontsize=8, color=_GREY)
    axes.set_xlabel("annotated frames; dots: seeds, lines: means", fontsize=8, color=_GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes, "y")
    axes.legend(frameon=False, fontsize=8, loc="best")
    return figure
