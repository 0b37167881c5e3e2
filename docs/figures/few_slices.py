"""Draw images/em_few.png: errors on the held-out EM slices by the number of slices that train, every seed a dot.

``python docs/figures/few_slices.py`` reads ``docs/studies/em_few.csv``.
"""

from __future__ import annotations

import pandas as pd
from drawing import ROOT, save
from matplotlib.figure import Figure

from bundle.studies.summary_chart import plain_axes

#: start of a variant's name -> label, colour, mark, place beside the others
RECIPES = {"": ("ours", "#0072B2", "o", 0.97), "basic_unet_": ("MONAI BasicUNet", "#D55E00", "s", 1.03)}
SLICES = {"few_1": 1, "few_2": 2, "few_5": 5, "few_10": 10, "all": 20}
METRICS = {"rand_error": "Rand error (lower is better)", "v_rand": "V_rand (higher is better)"}


def draw(values: pd.DataFrame) -> Figure:
    """A panel for each measure, mean over d4; lines are the means of the seeds."""
    figure = Figure(figsize=(8.4, 3.4), dpi=120, layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(1, len(METRICS)), METRICS.items(), strict=True):
        shown = values[(values.metric == metric) & (values.tta == "d4")]
        for start, (label, colour, mark, beside) in RECIPES.items():
            places = shown.variant.map({start + name: count * beside for name, count in SLICES.items()})
            means = shown.value.groupby(places).mean()
            if len(means):
                axes.plot(means.index, means, color=colour, linewidth=1.4, label=label)
                axes.scatter(places, shown.value, c=colour, marker=mark, s=22, alpha=0.8, linewidth=0)
        axes.set_xscale("log")
        axes.set_xticks(list(SLICES.values()), [str(count) for count in SLICES.values()])
        axes.minorticks_off()
        plain_axes(axes, "y")
        axes.set_title(title)
        axes.set_xlabel("slices that train", fontsize=8.5)
    figure.axes[0].legend(frameon=False, fontsize=8.5)
    return figure


if __name__ == "__main__":
    save(draw(pd.read_csv(ROOT / "docs" / "studies" / "em_few.csv")), "em_few")
