"""Ending a training that no longer improves."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events
from monai.engines import Workflow

logger = logging.getLogger(__name__)


class StopEarly:
    """Ignite handler for the trainer: ends training when the key metric of the validation has not improved for long.

    It keeps no state of its own: the epoch of the best validation is in every checkpoint of
    :class:`bundle.training.SaveRun`, so a resumed run stops where an uninterrupted one does. Attach it after both.

    Args:
        evaluator: the engine of the validation.
        patience: epochs without a better key metric after which training ends; 0 never ends it.

    Raises:
        ValueError: for a patience below 0.
    """

    def __init__(self, evaluator: Workflow, patience: int = 0) -> None:
        if patience < 0:
            raise ValueError(f"patience must be at least 0 epochs (0: never stop early), got {patience!r}")
        self.evaluator = evaluator
        self.patience = patience

    def attach(self, engine: Engine) -> None:
        if self.patience:
            # STARTED: a run that was killed between its last epoch and its end, and is resumed
            engine.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        state = self.evaluator.state
        if state.best_metric_epoch < 0 or trainer.state.epoch - state.best_metric_epoch < self.patience:
            return
        logger.info(
            "stopped after epoch %d: %s is best, %.4f, since epoch %d",
            trainer.state.epoch,
            state.key_metric_name,
            state.best_metric,
            state.best_metric_epoch,
        )
        trainer.terminate()
