"""The trainer and the validator in the run of a tracker."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events

from bundle.tracking.tracker import MLflowTracker


class TrackTraining:
    """Ignite handler for the trainer: attaches a tracker to it.

    In a config one tracker serves trainer, validator and pictures, so it stands by itself; but MONAI's
    ``ConfigWorkflow`` wants every entry of ``train#handlers`` to be a component of its own, not "@tracker".

    Args:
        tracker: the tracker of the run.
    """

    def __init__(self, tracker: MLflowTracker) -> None:
        self.tracker = tracker

    def attach(self, engine: Engine) -> None:
        self.tracker.attach(engine)


class TrackMetrics:
    """Ignite handler for the validator: its metrics, and the best so far, in the run of a tracker.

    The step is the trainer's iteration. Without a trainer, in an evaluation of its own, the run opens and closes with
    this engine.

    Args:
        tracker: the tracker of the run.
        prefix: of the names, ``<prefix>/<metric>``.
    """

    def __init__(self, tracker: MLflowTracker, prefix: str = "val") -> None:
        self.tracker = tracker
        self.prefix = prefix

    def attach(self, engine: Engine) -> None:
        self.tracker.follow(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        values = dict(state.metrics)
        key = getattr(state, "key_metric_name", None)
        if key is not None and state.best_metric_epoch != -1:
            values |= {f"best_{key}": state.best_metric, "best_epoch": state.best_metric_epoch}
        self.tracker.record({self.prefix: values})
