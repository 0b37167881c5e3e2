"""A progress bar over the whole training run; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

from bundle.training.pace import MEASURED, WARM_UP, busy

#: metrics that are shown beside the key metric
_SHOWN = ("iou", "seg", "iou/mean", "seg/mean")


class Progress:
    """Shows steps, loss, key metric and the time that is left; attach it to the trainer.

    On a terminal it is one bar over all steps. Elsewhere (a log file, a CI job) it prints one line an epoch. At the end
    it says which epoch's network is kept. Attach it before what uses that network.

    Args:
        evaluator: engine of the validation, whose key metric is shown; None for none.
        predict: say after the first steps how long the training takes.
    """

    def __init__(self, evaluator: Engine | None = None, predict: bool = True) -> None:
        self.evaluator = evaluator
        self.predict = predict
        self._bar: tqdm | None = None
        self._started = 0.0
        self._first = 0
        self._warm = 0.0

    def attach(self, engine: Engine) -> None:
        if getattr(engine.state, "rank", 0) > 0:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def _open(self, engine: Engine) -> None:
        if self._bar is None:
            state: Any = engine.state
            self._started, self._first = time.monotonic(), state.iteration
            self._bar = tqdm(
                total=state.max_epochs * state.epoch_length,
                initial=state.iteration,
                unit="step",
                desc="training",
                disable=not sys.stderr.isatty(),
                dynamic_ncols=True,
            )

    def _step(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.update()
        state: Any = engine.state
        made = state.iteration - self._first
        if made == WARM_UP:
            self._warm = time.monotonic()
        elif made == WARM_UP + MEASURED:
            self._tell_time(state)

    def _tell_time(self, state: Any) -> None:
        if self.predict:
            pace = (time.monotonic() - self._warm) / MEASURED
            left = state.max_epochs * state.epoch_length - self._first
            validations = ", and the validations" if getattr(self.evaluator, "data_loader", None) else ""
            tqdm.write(f"{left} steps of {pace:.3g} s take about {left * pace / 60:.1f} min{validations}")
        if hint := busy():
            tqdm.write(hint)

    def _epoch(self, engine: Engine) -> None:
        state: Any = engine.state
        parts = {"epoch": f"{state.epoch}/{state.max_epochs}"}
        parts |= {name: f"{value:.4f}" for name, value in state.metrics.items()}
        if self.evaluator is not None:
            parts |= {f"val {name}": f"{value:.4f}" for name, value in self._shown(self.evaluator.state).items()}
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix(parts)
            return
        text = "  ".join(f"{name} {value}" for name, value in parts.items())
        if self._bar is not None:  # else the epoch's steps were those of an interrupted run
            pace = (time.monotonic() - self._started) / max(1, state.iteration - self._first)
            left = pace * (state.max_epochs * state.epoch_length - state.iteration)
            text += f"  {pace:.2f} s/step in all  {left / 60:.1f} min left"
        print(text, flush=True)

    def _shown(self, state: Any) -> dict[str, float]:
        names = dict.fromkeys((state.key_metric_name, *_SHOWN))
        return {name: state.metrics[name] for name in names if name in state.metrics}

    def _close(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        best: Any = self.evaluator.state if self.evaluator is not None else None
        if getattr(best, "best_metric_epoch", -1) != -1:
            told = f"the best by {best.key_metric_name} on validation images ({float(best.best_metric):.4f})"
            print(f"the network of epoch {best.best_metric_epoch} of {engine.state.epoch} is kept: {told}", flush=True)
        elif getattr(self.evaluator, "data_loader", None):
            why = "no epoch was validated, since --val_interval is larger than the number of epochs"
            print(f"the last network is kept: {why}", flush=True)
