"""The measures of the ISBI 2012 challenge at each threshold, of which their value is the best: a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from bundle.metrics.selection import lower_is_better
from bundle.output.class_pictures import drawn


def threshold_picture(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """A panel for each measure, with a dot at its best threshold; thresholds of 0 and 1 may lie outside.

    Args:
        curves: measure -> (T,) thresholds, and (T,) the measure at each; NaN where it has none.

    Returns:
        RGB uint8 picture.
    """
    figure = Figure(figsize=(2.5 * len(curves), 2.4), dpi=130, layout="constrained")
    for axes, (name, (thresholds, values)) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        lower = lower_is_better(name)
        axes.plot(thresholds, values, color="#0072B2", marker=".", lw=1.2)
        title = name if name.startswith("v_") else name.replace("_", " ")
        axes.set_title(title, fontsize=9)
        if not np.isnan(values).all():
            best = int(np.nanargmin(values) if lower else np.nanargmax(values))
            axes.plot(thresholds[best], values[best], "o", color="#D55E00", ms=7)
            axes.set_title(f"{title}: {values[best]:.3g} at {thresholds[best]:.1f}", fontsize=9)
        inner = values[(thresholds > 0.05) & (thresholds < 0.95)]
        if np.ptp(inner) > 0:  # where all or nothing is cell, values are far off and would hide the others
            axes.set_ylim(inner.min() - 0.08 * np.ptp(inner), inner.max() + 0.08 * np.ptp(inner))
        axes.set_xlabel("threshold", fontsize=8)
        axes.set_ylabel("lower is better" if lower else "higher is better", fontsize=7)
        axes.tick_params(labelsize=7)
        axes.set_xlim(-0.03, 1.03)
        axes.spines[["top", "right"]].set_visible(False)
    return drawn(figure)
