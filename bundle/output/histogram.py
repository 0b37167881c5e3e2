"""Bars of a histogram, for the template beside this file."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

_BARS = 32
_TICKS = MaxNLocator(5)


def bars(values: np.ndarray, from_zero: bool = True, most: float | None = None) -> dict[str, Any] | None:
    """What the macro of ``histogram.html`` draws; None for fewer than two values.

    Args:
        values: NaN is left out; those far above the others count in the last bar.
        from_zero: the axis begins at 0, else at the smallest value.
        most: that there can be, the end of the axis; None: a little above nearly all values.

    Returns:
        "heights" 0 .. 1, "low" and "top" of the axis, its "ticks", round numbers, the three "quartiles", and "count".
    """
    values = values[np.isfinite(values)].astype(np.float64)
    if len(values) < 2:
        return None
    low = 0.0 if from_zero else float(values.min())
    span = max((float(np.quantile(values, 0.99)) - low) * 1.05, 1e-6 * max(1.0, abs(low)))
    top = low + span if most is None else most
    counts, _ = np.histogram(np.clip(values, low, top), bins=_BARS, range=(low, top))
    return {
        "heights": (counts / counts.max()).tolist(),
        "low": low,
        "top": top,
        "ticks": [float(tick) for tick in _TICKS.tick_values(low, top) if low <= tick <= top],
        "quartiles": np.quantile(values, [0.25, 0.5, 0.75]).tolist(),
        "count": len(values),
    }
