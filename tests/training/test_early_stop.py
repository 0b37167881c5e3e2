"""Training ends when the validation no longer improves, and not before."""

from types import SimpleNamespace

import pytest
from ignite.engine import Engine, Events

from bundle.training import StopEarly


def train(best_epochs, patience, start=0):
    """Epochs that a training of ten takes when the best validation so far is that of ``best_epochs``, by epoch."""
    evaluator = SimpleNamespace(state=SimpleNamespace(best_metric_epoch=-1, best_metric=0.5, key_metric_name="seg"))
    trainer = Engine(lambda *_: None)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        evaluator.state.best_metric_epoch = best_epochs[engine.state.epoch - 1]

    StopEarly(evaluator, patience).attach(trainer)
    completed = []
    trainer.add_event_handler(Events.COMPLETED, lambda _: completed.append(True))
    trainer.run([0], max_epochs=10)
    assert completed  # so that the best network is still published
    return trainer.state.epoch


def test_it_waits_as_many_epochs_as_it_was_told():
    assert train([1, 2, 3, 3, 3, 3, 3, 3, 3, 3], patience=3) == 6
    assert train([1, 2, 2, 4, 4, 4, 7, 8, 9, 10], patience=3) == 10
    assert train([1] * 10, patience=1) == 2


def test_zero_never_stops_and_neither_does_a_validation_that_was_not():
    assert train([1] * 10, patience=0) == 10
    assert train([-1] * 10, patience=1) == 10


def test_patience_below_zero():
    with pytest.raises(ValueError, match="patience must be at least 0 epochs"):
        StopEarly(None, -1)
