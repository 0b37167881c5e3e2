"""What a run measured: its curves, and the numbers that stand for it in a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bundle.metrics.selection import lower_is_better
from bundle.studies.comparison.mlflow_runs import Run, RunStore

#: steps (N) and values (N), in order of the steps
Curve = tuple[np.ndarray, np.ndarray]

TRAIN_LOSS = "train/loss"
_VALIDATION = "val/"


def curves(store: RunStore, run: Run) -> dict[str, Curve]:
    """Of a training: ``train/loss``, and every metric of the validation as ``val/<metric>``; none of them empty."""
    names = [name for name in run.metrics if name.startswith(_VALIDATION) and _is_metric(name)]
    found = {name: store.history(run, name) for name in (TRAIN_LOSS, *names) if name in run.metrics}
    return {name: curve for name, curve in found.items() if len(curve[0])}


def kept(run: Run, found: dict[str, Curve]) -> int | None:
    """The step whose network a training kept as its best: the first of the best validations by ``best_by``.

    None without a validation. Runs that do not record ``best_by`` tell it by the name of ``val/best_<metric>``.
    """
    recorded = [name.removeprefix(f"{_VALIDATION}best_") for name in run.metrics if not _is_metric(name)]
    named = [name for name in (run.params.get("best_by"), *recorded) if f"{_VALIDATION}{name}" in found]
    if not named:
        return None
    steps, values = found[f"{_VALIDATION}{named[0]}"]
    return int(steps[np.argmin(values) if lower_is_better(str(named[0])) else np.argmax(values)])


def training_values(run: Run, found: dict[str, Curve], window: int) -> dict[str, float]:
    """Metric -> value at the step that was :func:`kept`, and ``train/loss``, the mean of its last ``window`` steps."""
    at = kept(run, found)
    values = {}
    for name, (steps, course) in found.items():
        if name == TRAIN_LOSS:
            values[name] = float(course[-window:].mean())
        elif at is not None and at in steps:
            values[name.removeprefix(_VALIDATION)] = float(course[np.searchsorted(steps, at)])
    return values


def evaluation_values(run: Run) -> dict[str, float]:
    """Metric -> value as reported, of an evaluation; what is not a number is left out."""
    prefix = f"{run.part}/"
    values = {n.removeprefix(prefix): v for n, v in run.metrics.items() if n.startswith(prefix) and _is_metric(n)}
    return {name: value for name, value in values.items() if np.isfinite(value)}


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of every value (N) and those before it, ``window`` in all; of fewer at the beginning."""
    return np.asarray(pd.Series(values).rolling(window, min_periods=1).mean())


def _is_metric(name: str) -> bool:
    return not name.partition("/")[2].startswith("best_")
