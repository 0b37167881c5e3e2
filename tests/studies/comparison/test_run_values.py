"""Numbers read off curves."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.studies.comparison.mlflow_runs import Run, RunStore
from bundle.studies.comparison.run_values import curves, evaluation_values, kept, running_mean, training_values


def run(metrics: dict[str, float] | None = None, **params: str) -> Run:
    return Run("id", "name", "FINISHED", 0.0, 1.0, params, {}, metrics or {})


def curve(*values: float) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(10, 10 * len(values) + 1, 10), np.array(values, dtype=float)


COURSE = {
    "train/loss": curve(4.0, 3.0, 2.0, 1.0),
    "val/loss": curve(0.7, 0.4, 0.4, 0.5),
    "val/iou": curve(0.1, 0.2, 0.9, 0.3),
}


@pytest.mark.parametrize(("best_by", "step"), [("loss", 20), ("iou", 30)])
def test_the_first_best_validation_was_kept(best_by, step):
    assert kept(run(best_by=best_by), COURSE) == step
    assert kept(run({f"val/best_{best_by}": 0.4, "val/best_epoch": 2}), COURSE) == step  # before best_by was recorded


def test_without_validation_nothing_tells():
    assert kept(run(best_by="loss"), {"train/loss": curve(1, 2)}) is None
    assert training_values(run(best_by="loss"), {"train/loss": curve(1, 2)}, 1) == {"train/loss": 2}


def test_values_are_of_the_network_that_was_kept():
    assert training_values(run(best_by="loss"), COURSE, 2) == {"train/loss": 1.5, "loss": 0.4, "iou": 0.2}
    late = {**COURSE, "val/seg": (np.array([40]), np.array([0.8]))}  # not measured by the validation that was kept
    assert "seg" not in training_values(run(best_by="loss"), late, 2)


def test_values_of_an_evaluation():
    measured = {"held_out/seg": 0.5, "held_out/iou": float("nan"), "held_out/best_seg": 0.5, "val/seg": 0.9, "plain": 1}
    assert evaluation_values(run(measured, checkpoint="x", part="held_out")) == {"seg": 0.5}


def test_running_mean():
    values = np.random.default_rng(0).normal(size=50)
    for window in (1, 7, 80):
        literal = [values[max(0, i - window + 1) : i + 1].mean() for i in range(50)]
        np.testing.assert_allclose(running_mean(values, window), literal, rtol=1e-12)


def test_curves_come_from_the_store(hand):
    hand.training("a", {"train/loss": [2, 1], "val/iou": [0.5], "val/best_iou": [0.5], "train/epoch": [1]})
    store = RunStore(hand.uri)
    found = curves(store, store.runs("cells")[0])
    assert {name: values.tolist() for name, (_, values) in found.items()} == {"train/loss": [2, 1], "val/iou": [0.5]}
