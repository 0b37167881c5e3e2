"""Which metric decides what is best: any of the validation's, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

M = TypeVar("M")


def lower_is_better(name: str) -> bool:
    """Whether a metric is a loss, an error or a distance, which its name must then say; never one of a class."""
    of_class = name.partition("/")[0] in ("iou", "dice", "seg")
    return not of_class and any(word in name.lower() for word in ("loss", "error", "distance"))


def better(best_by: str) -> Callable[[float, float], bool]:
    """``metric_cmp_fn`` of MONAI's evaluators for the metric of that name; anything is better than NaN."""
    if lower_is_better(best_by):
        return lambda current, best: current < best or best != best
    return lambda current, best: current > best or best != best


def key_metric(metrics: Mapping[str, M], best_by: str) -> dict[str, M]:
    """The one of ``metrics`` that decides, as MONAI's evaluators take it.

    Raises:
        ValueError: for a name that is not among them.
    """
    if best_by not in metrics:
        raise ValueError(f"best_by must be one of {', '.join(metrics)}, got {best_by!r}")
    return {best_by: metrics[best_by]}


def other_metrics(metrics: Mapping[str, M], best_by: str) -> dict[str, M]:
    """All of ``metrics`` but the one that decides."""
    return {name: metric for name, metric in metrics.items() if name != best_by}
