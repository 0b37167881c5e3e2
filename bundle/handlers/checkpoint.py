"""Saving and resuming a training run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Workflow
from torch import nn

from bundle import checkpoints

__all__ = ["LoadNetwork", "SaveRun"]

logger = logging.getLogger(__name__)


class SaveRun:
    """Writes the checkpoints of a training run, and continues from them.

    In ``run_dir``: ``last.pt`` holds all that training needs to go on (network, optimizer, schedules, epoch, best
    metric) after every epoch; ``best.pt`` the network of the best validation so far, or the newest one while there
    is no validation. When training completes, the best network is also published as ``model_file``. Network files
    are plain state dicts. All are written atomically and read with weights_only.

    Attach it to the trainer after the validation and the schedules, so that a checkpoint holds their outcome.

    Args:
        run_dir: folder of the run.
        network: the network in training (unwrapped from DistributedDataParallel by itself).
        states: what else has ``state_dict`` and is needed to go on, by name: the optimizer, a learning rate schedule.
        evaluator: the engine of the validation; its key metric decides what is best. None: the last is the best.
        model_file: where the best network goes when training is complete; None for nowhere.
        resume: continue from ``last.pt``.
        identity: what must be the same for a run to go on: numbers and text such as seed and data fingerprint.
        interval: epochs between two writes of ``last.pt``; the last epoch is always written.

    Raises:
        FileNotFoundError: on resuming without a checkpoint.
        ValueError: when the checkpoint is damaged, of another architecture, of a run of another ``identity``, or
            already past ``max_epochs``.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        network: nn.Module,
        states: Mapping[str, Any],
        evaluator: Workflow | None = None,
        model_file: str | os.PathLike[str] | None = None,
        resume: bool = False,
        identity: Mapping[str, Any] | None = None,
        interval: int = 1,
    ) -> None:
        if interval < 1:
            raise ValueError(f"interval must be at least 1 epoch, got {interval!r}")
        self.run_dir = Path(run_dir)
        self.network = getattr(network, "module", network)
        self.states = dict(states)
        self.evaluator = evaluator
        self.model_file = model_file
        self.resume = resume
        self.identity = {name: str(value) for name, value in (identity or {}).items()}
        self.interval = interval
        self._best_epoch = -1

    def attach(self, engine: Engine) -> None:
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.restore)
        if getattr(engine.state, "rank", 0) == 0:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
            engine.add_event_handler(Events.COMPLETED, self.publish)

    def save(self, trainer: Engine) -> None:
        """Write ``best.pt`` if this epoch is the best, and ``last.pt``."""
        best = self.evaluator.state.best_metric_epoch if self.evaluator is not None else trainer.state.epoch
        if best == -1 or best != self._best_epoch:
            checkpoints.write(self.run_dir / "best.pt", self.network.state_dict())
            self._best_epoch = best
        last = trainer.state.epoch == trainer.state.max_epochs
        if last or trainer.state.epoch % self.interval == 0:
            checkpoints.write(self.run_dir / "last.pt", self._content(trainer))

    def _content(self, trainer: Engine) -> dict[str, Any]:
        state = self.evaluator.state if self.evaluator is not None else None
        return {
            "network": self.network.state_dict(),
            **{name: thing.state_dict() for name, thing in self.states.items()},
            "identity": self.identity,
            "epoch": trainer.state.epoch,
            "iteration": trainer.state.iteration,
            "best_metric": float(state.best_metric) if state is not None else 0.0,
            "best_epoch": int(state.best_metric_epoch) if state is not None else -1,
        }

    def restore(self, trainer: Engine) -> None:
        """Put everything back as ``last.pt`` has it."""
        path = self.run_dir / "last.pt"
        content = checkpoints.read(path)
        if not isinstance(content, Mapping) or "epoch" not in content:
            raise ValueError(f"{path} is no checkpoint of a training run; resume needs the last.pt of one")
        before = content.get("identity", {})
        changed = [
            f"{name} {value} instead of {before[name]}"
            for name, value in self.identity.items()
            if before.get(name, value) != value
        ]
        if changed:
            raise ValueError(
                f"{path} belongs to a run with other settings ({', '.join(changed)}): repeat its command and add "
                "--resume true, or start a new run"
            )
        if content["epoch"] >= trainer.state.max_epochs:
            raise ValueError(
                f"{path} has completed {content['epoch']} epochs; to go on, max_epochs must be above that, "
                f"got {trainer.state.max_epochs}"
            )
        checkpoints.load_network(self.network, path)
        for name, thing in self.states.items():
            thing.load_state_dict(content[name])
        trainer.state.epoch = content["epoch"]
        trainer.state.iteration = content["iteration"]
        if self.evaluator is not None:
            self.evaluator.state.best_metric = content["best_metric"]
            self.evaluator.state.best_metric_epoch = content["best_epoch"]
            self._best_epoch = content["best_epoch"]
        logger.info("resumed from %s after epoch %d", path, content["epoch"])

    def publish(self, trainer: Engine) -> None:
        """Copy the best network to ``model_file``."""
        if self.model_file is not None:
            checkpoints.write(self.model_file, checkpoints.read(self.run_dir / "best.pt"))
            logger.info("the best network is now %s", self.model_file)


class LoadNetwork:
    """Loads a model file into the network before an evaluator starts; clear errors for one that does not fit.

    Args:
        path: a model file or a training checkpoint.
        network: as the checkpoint's, see :func:`bundle.checkpoints.unet_arguments`.
    """

    def __init__(self, path: str | os.PathLike[str], network: nn.Module) -> None:
        self.path = path
        self.network = getattr(network, "module", network)  # of DistributedDataParallel

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        with torch.no_grad():
            checkpoints.load_network(self.network, self.path)
        logger.info("loaded %s", self.path)
