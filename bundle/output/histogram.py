"""Bars of a histogram, for the template beside this file."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["bars"]

_BARS = 32


def bars(values: np.ndarray, from_zero: bool = True) -> dict[str, Any] | None:
    """What the macro of ``histogram.html`` draws; None for fewer than two values.

    Args:
        values: NaN is left out; those far above the others count in the last bar.
        from_zero: the axis begins at 0, else at the smallest value.

    Returns:
        "heights" 0 .. 1, "low" and "top" of the axis, the three "quartiles", and "count".
    """
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return None
    low = 0.0 if from_zero else float(values.min())
    top = max(low + (float(np.quantile(values, 0.99)) - low) * 1.05, low + 1e-9)
    counts, _ = np.histogram(np.clip(values, low, top), bins=_BARS, range=(low, top))
    return {
        "heights": (counts / counts.max()).tolist(),
        "low": low,
        "top": top,
        "quartiles": np.quantile(values, [0.25, 0.5, 0.75]).tolist(),
        "count": len(values),
    }
