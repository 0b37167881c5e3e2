"""Leaving a training when it is asked to stop: its step is saved first."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from bundle.training.interruption import StopRequest
from bundle.training.run_state import RunState


class LeaveRun:
    """Ignite handler for the trainer: SIGTERM and Ctrl-C let the step in work end and save it in ``last.pt``.

    The process then ends by SystemExit (143, 130). During a validation, after the image in work, what is saved is the
    end of the epoch's last step. Several processes stop together, and after the validation.
    """

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._request = StopRequest()

    def attach(self, engine: Engine) -> None:
        self._request.guard(engine)
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_step)
        if self.state.evaluator is not None:
            self.state.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._after_image, engine)

    def _begin(self, trainer: Engine) -> None:
        # after the handlers of TERMINATE that are attached later
        if not trainer.has_event_handler(self._leave, Events.TERMINATE):
            trainer.add_event_handler(Events.TERMINATE, self._leave)

    def _after_step(self, trainer: Engine) -> None:
        state: Any = trainer.state
        steps = (state.iteration - 1) % state.epoch_length + 1
        updated = steps % getattr(trainer, "accumulation_steps", 1) == 0 or steps == state.epoch_length
        if updated and self._request.wanted():
            trainer.terminate(skip_completed=True)

    def _after_image(self, evaluator: Engine, trainer: Engine) -> None:
        # several processes wait for each other in a validation: none can leave it alone
        if self._request.number and idist.get_world_size() == 1:
            self._leave(trainer)

    def _leave(self, trainer: Engine) -> None:
        """Save the present step of an epoch that is not complete, and end the process."""
        if not self._request.number:
            return  # another handler ends the training
        state: Any = trainer.state
        content = self.state.content(trainer, state.epoch - 1) | self.state.within_epoch(trainer)
        if getattr(state, "rank", 0) == 0:
            self.state.write(self.state.last, content)
            steps = state.iteration - (state.epoch - 1) * state.epoch_length
            print(
                f"{self._request.name}: saved epoch {state.epoch}, step {steps} of {state.epoch_length} in "
                f"{self.state.last}; to resume, repeat the command with --run_name {self.state.run_dir.name} "
                "--resume true",
                flush=True,
            )
        raise SystemExit(128 + self._request.number)
