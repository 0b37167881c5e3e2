"""Saving and resuming a training run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.engines import Workflow
from torch import nn
from torch.optim import Optimizer

from bundle import atomic
from bundle.model import checkpoints
from bundle.model.publish import how_to_publish, is_published
from bundle.model.renamed import translated
from bundle.tracking.config import running_config
from bundle.training.interruption import StopRequest
from bundle.training.resume_settings import changed_settings, training_settings
from bundle.training.resumed_loader import ResumedLoader
from bundle.training.seeding import random_states, set_random_states

__all__ = ["SaveRun"]

logger = logging.getLogger(__name__)

_PUBLISH = ("if_none", "always", "never")


class SaveRun:
    """Writes the checkpoints of a training run, and continues from them.

    In ``run_dir``: ``last.pt`` holds all that a training needs to resume (network, optimizer, schedules, epoch, best
    metric) after every epoch; ``best.pt`` the network of the best validation so far, or the newest one while there
    is no validation. When training completes, the best network may be published as ``model_file``. Network files are
    plain state dicts. All are written atomically and read with weights_only.

    SIGTERM and Ctrl-C let the step in work end, save it in ``last.pt`` with the random state, and end the process by
    SystemExit (143, 130). During a validation, after the image in work, what is saved is the end of the epoch's last
    step: the run continues with that validation. Several processes stop together, and after the validation.

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
        interval: epochs between two writes of ``last.pt``; the last epoch is always written.
        running: metrics of the trainer that add up over an epoch, by name; they continue in the middle of one.

    Raises:
        ValueError: on resuming when the checkpoint is damaged, of another architecture, of a run of another
            ``must_match``, number of steps an epoch or settings that fix what is trained, or past ``max_epochs``.
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
        interval: int = 1,
        running: Mapping[str, Metric] | None = None,
        publish: str = "if_none",
    ) -> None:
        if publish not in _PUBLISH:
            raise ValueError(f"publish must be one of {', '.join(_PUBLISH)}, got {publish!r}")
        if interval < 1:
            raise ValueError(f"interval must be at least 1 epoch, got {interval!r}")
        self.run_dir = Path(run_dir)
        self.network = getattr(network, "module", network)
        self.states = dict(states)
        self.evaluator = evaluator
        self.model_file = model_file if publish != "never" else None
        self.replace = publish == "always"
        self.resume = resume
        self.must_match = {name: str(value) for name, value in (must_match or {}).items()}
        self.interval = interval
        self.running = dict(running or {})
        self._settings: dict[str, str] = {}
        self._request = StopRequest()
        self._best_epoch = -1
        self._complete_epoch = -1
        self._within_epoch: Mapping[str, Any] | None = None
        self._kept = "there is no checkpoint yet"

    def attach(self, engine: Engine) -> None:
        self._request.guard(engine)
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_STARTED, self._rejoin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_step)
        if getattr(engine.state, "rank", 0) == 0:
            engine.add_event_handler(Events.COMPLETED, self.publish)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._after_image, engine)

    def save(self, trainer: Engine) -> None:
        """Write ``best.pt`` if this epoch is the best, and ``last.pt``."""
        best = self.evaluator.state.best_metric_epoch if self.evaluator is not None else trainer.state.epoch
        if best == -1 or best != self._best_epoch:
            self._write(self.run_dir / "best.pt", self.network.state_dict())
            self._best_epoch = best
        last = trainer.state.epoch == trainer.state.max_epochs
        if last or trainer.state.epoch % self.interval == 0:
            self._write(self.run_dir / "last.pt", self._content(trainer, trainer.state.epoch))
            self._kept = f"{self.run_dir / 'last.pt'} of epoch {trainer.state.epoch} stays"

    def restore(self, trainer: Engine) -> None:
        """Put everything back as ``last.pt`` has it; without one, training starts from the beginning."""
        path = self.run_dir / "last.pt"
        if not path.is_file():
            logger.info("%s has no checkpoint yet: it starts from the beginning", self.run_dir)
            return
        content = checkpoints.read(path)
        if not isinstance(content, Mapping) or "epoch" not in content:
            raise ValueError(f"{path} is no checkpoint of a training run; resume needs the last.pt of one")
        content = translated("checkpoint", content)
        needed = ("network", *self.states, "iteration", "best_metric", "best_epoch")
        if missing := [name for name in needed if name not in content]:
            raise ValueError(f"{path} lacks {', '.join(missing)}: it cannot be resumed; start a new run, best.pt stays")
        steps = self._require_same(trainer, content, path)
        checkpoints.load_weights(self.network, checkpoints.network_weights(content), path)
        for name, thing in self.states.items():
            if isinstance(thing, Optimizer):
                checkpoints.require_same_optimizer(thing, content[name], path)
            thing.load_state_dict(content[name])
        trainer.state.epoch = content["epoch"]
        trainer.state.iteration = content["iteration"]
        if self.evaluator is not None:
            self.evaluator.state.best_metric = content["best_metric"]
            self.evaluator.state.best_metric_epoch = content["best_epoch"]
            self._best_epoch = content["best_epoch"]
        self._complete_epoch = content["epoch"] if content.get("complete") else -1
        where = f"epoch {content['epoch']}" + (f", {steps} steps into the next" if steps else "")
        self._kept = f"{path} of {where} stays"
        logger.info("resumed from %s after %s", path, where)
        if steps == trainer.state.epoch_length:
            self._load_running(content)
            trainer.add_event_handler(Events.STARTED, self._end_epoch)  # when all other handlers have started
        elif steps and trainer.state.dataloader is not None:
            trainer.state.dataloader = ResumedLoader(trainer.state.dataloader, steps)
            self._within_epoch = content

    def publish(self, trainer: Engine) -> None:
        """Publish the best network, where that is wanted, and note in ``last.pt`` that nothing is left to do."""
        missing = self.model_file is not None and not Path(self.model_file).is_file()
        if self._complete_epoch == trainer.state.epoch and not missing:
            logger.info(
                "%s is complete after %d epochs; to continue, %s",
                self.run_dir,
                trainer.state.epoch,
                f"max_epochs must be above that, got {trainer.state.max_epochs}"
                if trainer.state.max_epochs == trainer.state.epoch
                else "patience must be longer, or 0",
            )
            return
        if self.model_file is not None and (missing or self.replace):
            atomic.remove_leftovers(Path(self.model_file).parent)
            self._write(self.model_file, checkpoints.read(self.run_dir / "best.pt"))
            logger.info("the best network is now %s", self.model_file)
        self._write(self.run_dir / "last.pt", self._content(trainer, trainer.state.epoch) | {"complete": True})
        if self.model_file is not None and not is_published(self.run_dir, self.model_file):
            print(how_to_publish(self.run_dir, self.model_file), flush=True)

    def _begin(self, trainer: Engine) -> None:
        self._settings = training_settings(running_config(), but=tuple(self.must_match))
        if self.resume:
            self.restore(trainer)
        if getattr(trainer.state, "rank", 0) == 0:
            atomic.remove_leftovers(self.run_dir)
            if not trainer.has_event_handler(self.save, Events.EPOCH_COMPLETED):
                # last of all: once the checkpoint is written, the epoch is not repeated, nor is its record
                trainer.add_event_handler(Events.EPOCH_COMPLETED, self.save)
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
        content = self._content(trainer, state.epoch - 1) | {
            "running": {name: metric.state_dict() for name, metric in self.running.items()},
            "random": random_states(state.device),
        }
        if getattr(state, "rank", 0) == 0:
            self._write(self.run_dir / "last.pt", content)
            steps = state.iteration - (state.epoch - 1) * state.epoch_length
            print(
                f"{self._request.name}: saved epoch {state.epoch}, step {steps} of {state.epoch_length} in "
                f"{self.run_dir / 'last.pt'}; to resume, repeat the command with --run_name {self.run_dir.name} "
                "--resume true",
                flush=True,
            )
        raise SystemExit(128 + self._request.number)

    def _rejoin(self, trainer: Engine) -> None:
        """In the middle of an epoch, what its start has just reset, right before its first step."""
        content, self._within_epoch = self._within_epoch, None
        if content is not None:
            state: Any = trainer.state
            self._load_running(content)
            set_random_states(content["random"], state.device)

    def _end_epoch(self, trainer: Engine) -> None:
        """Validate, choose the best and save after an epoch whose last step was saved, but nothing of this."""
        trainer.remove_event_handler(self._end_epoch, Events.STARTED)
        trainer.state.epoch += 1
        trainer.fire_event(Events.EPOCH_COMPLETED)

    def _load_running(self, content: Mapping[str, Any]) -> None:
        for name, metric in self.running.items():
            metric.load_state_dict(content["running"][name])

    def _content(self, trainer: Engine, epochs: int) -> dict[str, Any]:
        state = self.evaluator.state if self.evaluator is not None else None
        return {
            "network": self.network.state_dict(),
            **{name: thing.state_dict() for name, thing in self.states.items()},
            "must_match": self.must_match,
            **({"settings": self._settings} if self._settings else {}),
            "epoch": epochs,
            "iteration": trainer.state.iteration,
            "epoch_length": trainer.state.epoch_length,
            "best_metric": float(state.best_metric) if state is not None else 0.0,
            "best_epoch": int(state.best_metric_epoch) if state is not None else -1,
        }

    def _require_same(self, trainer: Engine, content: Mapping[str, Any], path: Path) -> int:
        """Check that the checkpoint belongs to this run; the steps it is into an epoch, up to all of them."""
        state: Any = trainer.state
        own = self.must_match | {"steps an epoch": str(state.epoch_length)}
        before = translated("must_match", content.get("must_match", {}))
        before["steps an epoch"] = str(content.get("epoch_length", state.epoch_length))
        own = {name: value for name, value in own.items() if name in before or value != "None"}  # of a later version
        changed = changed_settings(before, own)
        if "settings" in content:  # checkpoints of version 0.1 do not have them
            changed += changed_settings(content["settings"], self._settings)
        if changed:
            raise ValueError(
                f"{path} belongs to a run with other settings ({', '.join(changed)}): repeat its command and add "
                "--resume true, or start a new run"
            )
        steps: int = content["iteration"] - content["epoch"] * state.epoch_length
        begun = content["epoch"] + (steps > 0)
        if begun > state.max_epochs:
            raise ValueError(f"{path} is in epoch {begun}; max_epochs must be at least that, got {state.max_epochs}")
        return steps

    def _write(self, path: str | os.PathLike[str], content: Any) -> None:
        try:
            checkpoints.write(path, content)
        except OSError as error:
            cure = "make room" if isinstance(error, checkpoints.DiskFullError) else "see to that"
            raise OSError(
                f"{error}; {self._kept}. To resume, {cure} and repeat the command with --run_name {self.run_dir.name} "
                "--resume true"
            ) from None
