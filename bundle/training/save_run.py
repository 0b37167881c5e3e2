"""Saving a training run: its checkpoints while it runs, and its network when it is complete."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.engines import Workflow
from torch import nn

from bundle import atomic
from bundle.model import TrainedNetwork
from bundle.model.publish import how_to_publish, is_published
from bundle.tracking.config import running_config
from bundle.training.leave_run import LeaveRun
from bundle.training.resume_run import resume
from bundle.training.resume_settings import training_settings
from bundle.training.run_length import RunLength
from bundle.training.run_state import RunState

logger = logging.getLogger(__name__)

_PUBLISH = ("if_none", "always", "never")


class SaveRun:
    """Writes the checkpoints of a training run, and continues from them.

    In ``run_dir``: ``last.pt`` holds all that a training needs to resume (network, optimizer, schedules, epoch, best
    metric) after every epoch; ``best.pt`` the network of the best validation so far, or the newest one while there
    is no validation. When training completes, the best network may be published as ``model_file``. Network files are
    plain state dicts. All are written atomically and read with weights_only.

    SIGTERM and Ctrl-C save the step in work and end the process (:class:`bundle.training.leave_run.LeaveRun`).

    A resumed run ends where an uninterrupted one does, on a CPU in fp32 with the same bits. Killed before its first
    checkpoint it starts from the beginning; killed after its last epoch it does what was left.

    Attach it to the trainer after the validation and the schedules, so that a checkpoint holds their outcome.

    Args:
        run_dir: folder of the run.
        network: the network in training (unwrapped from DistributedDataParallel by itself).
        states: what else has ``state_dict`` and is needed to resume, by name: the optimizer, a learning rate schedule.
        evaluator: the engine of the validation; its key metric decides what is best. None: the last is the best.
        model_file: where the best network is published when training is complete; None for nowhere.
        publish: "if_none" leaves a model that is there, and prints how to replace it (:mod:`bundle.model.publish`);
            "always" replaces it; "never".
        resume: continue from ``last.pt``.
        must_match: what must be the same for a run to resume: numbers and text such as seed and data fingerprint.
        running: metrics of the trainer that add up over an epoch, by name; they continue in the middle of one.
        length: of the run; where minutes gave it, the checkpoint holds what they meant on this machine.

    Raises:
        ValueError, FileNotFoundError: on resuming, as :func:`bundle.training.resume_run.resume`.
        OSError: when a checkpoint cannot be written; the message names what is missing and the one that stays.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        network: nn.Module,
        states: Mapping[str, Any],
        evaluator: Workflow | None = None,
        model_file: str | os.PathLike[str] | None = None,
        resume: bool = False,
        must_match: Mapping[str, Any] | None = None,
        running: Mapping[str, Metric] | None = None,
        publish: str = "if_none",
        length: RunLength | None = None,
    ) -> None:
        if publish not in _PUBLISH:
            raise ValueError(f"publish must be one of {', '.join(_PUBLISH)}, got {publish!r}")
        self.state = RunState(
            run_dir, network, states, evaluator, must_match, running, {} if length is None else length.state
        )
        self.model_file = model_file if publish != "never" else None
        self.replace = publish == "always"
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._begin)
        LeaveRun(self.state).attach(engine)
        if getattr(engine.state, "rank", 0) == 0:
            engine.add_event_handler(Events.COMPLETED, self.publish)

    def save(self, trainer: Engine) -> None:
        """Write ``last.pt``, and ``best.pt`` if this epoch is the best so far.

        In this order: whoever finds ``best.pt`` alone knows that ``last.pt`` was removed, and killed in between, the
        resumed run makes ``best.pt`` from ``last.pt``.
        """
        state, epoch = self.state, trainer.state.epoch
        state.write(state.last, state.content(trainer, epoch))
        state.kept = f"{state.last} of epoch {epoch} stays"
        best = state.evaluator.state.best_metric_epoch if state.evaluator is not None else epoch
        if best == -1 or best != state.best_epoch:
            state.write(state.best, state.network.state_dict())
            state.best_epoch = best

    def publish(self, trainer: Engine) -> None:
        """Publish the best network, where that is wanted, and note in ``last.pt`` that nothing is left to do."""
        state, epoch = self.state, trainer.state.epoch
        if self.model_file is not None:
            atomic.remove_leftovers(Path(self.model_file).parent)
        missing = self.model_file is not None and not Path(self.model_file).is_file()
        if state.complete_epoch == epoch and not missing:
            logger.info("%s is complete after %d epochs; to continue, %s", state.run_dir, epoch, self._more(trainer))
            return
        if self.model_file is not None and (missing or self.replace):
            with state.explained():
                TrainedNetwork(state.best).copy_to(self.model_file)
            logger.info("the best network is now %s, which inference uses without --checkpoint", self.model_file)
        state.write(state.last, state.content(trainer, epoch) | {"complete": True})
        if self.model_file is not None and not is_published(state.run_dir, self.model_file):
            print(how_to_publish(state.run_dir, self.model_file), flush=True)

    def _more(self, trainer: Engine) -> str:
        """How a complete run is continued."""
        if trainer.state.max_epochs != trainer.state.epoch:
            return "patience must be longer, or 0"
        minutes = self.state.length.get("minutes")
        if minutes:
            return f"give more minutes, such as --minutes {2 * minutes:g}"
        return f"max_epochs must be above that, got {trainer.state.max_epochs}"

    def _begin(self, trainer: Engine) -> None:
        self.state.settings = training_settings(running_config(), but=tuple(self.state.must_match))
        if self.resume:
            resume(self.state, trainer)
        if getattr(trainer.state, "rank", 0) == 0:
            atomic.remove_leftovers(self.state.run_dir, below=True)
            if not trainer.has_event_handler(self.save, Events.EPOCH_COMPLETED):
                # last of all: once the checkpoint is written, the epoch is not repeated, nor is its record
                trainer.add_event_handler(Events.EPOCH_COMPLETED, self.save)
