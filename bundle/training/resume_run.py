"""Resuming a training from the files of its run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch.optim import Optimizer

from bundle.model import checkpoints
from bundle.model.renamed import translated
from bundle.training.resume_settings import changed_settings, how_to_resume, require_same_optimizer
from bundle.training.resumed_loader import ResumedLoader
from bundle.training.run_state import RunState

logger = logging.getLogger(__name__)


def resume(state: RunState, trainer: Engine) -> None:
    """Put everything back as ``last.pt`` has it; without one, training starts from the beginning.

    Call it when ``trainer`` starts, on every process.

    Raises:
        ValueError: when a checkpoint is damaged, of another architecture, of a run of another ``must_match``, number of
            steps an epoch, optimizer or settings that fix what is trained, or past ``max_epochs``.
        FileNotFoundError: when ``best.pt`` is gone.
    """
    if not state.last.is_file():
        logger.info("%s has no checkpoint yet: it starts from the beginning", state.run_dir)
        return
    content = _read(state)
    steps = _require_same(state, trainer, content)
    for name, thing in state.states.items():
        if isinstance(thing, Optimizer):
            require_same_optimizer(thing, content[name], state.last)
    if getattr(trainer.state, "rank", 0) == 0:
        _require_best(state, content, steps)
    state.load(trainer, content)
    where = f"epoch {content['epoch']}" + (f", {steps} steps into the next" if steps else "")
    state.kept = f"{state.last} of {where} stays"
    logger.info("resumed from %s after %s", state.last, where)
    if steps == trainer.state.epoch_length:
        state.load_running(content)

        def end_epoch(trainer: Engine) -> None:
            """Validate, choose the best and save after an epoch whose last step was saved, but nothing of this."""
            trainer.remove_event_handler(end_epoch, Events.STARTED)
            trainer.state.epoch += 1
            trainer.fire_event(Events.EPOCH_COMPLETED)

        trainer.add_event_handler(Events.STARTED, end_epoch)  # when all other handlers have started
    elif steps and trainer.state.dataloader is not None:
        trainer.state.dataloader = ResumedLoader(trainer.state.dataloader, steps)

        def rejoin(trainer: Engine) -> None:
            """In the middle of an epoch, what its start has just reset, right before its first step."""
            trainer.remove_event_handler(rejoin, Events.ITERATION_STARTED)
            state.load_within_epoch(trainer, content)

        trainer.add_event_handler(Events.ITERATION_STARTED, rejoin)


def _read(state: RunState) -> dict[str, Any]:
    content = checkpoints.read(state.last)
    if not isinstance(content, Mapping) or "epoch" not in content:
        raise ValueError(f"{state.last} is no checkpoint of a training run; resume needs the last.pt of one")
    content = translated("checkpoint", content)
    needed = ("network", *state.states, "iteration", "best_metric", "best_epoch")
    if missing := [name for name in needed if name not in content]:
        raise ValueError(
            f"{state.last} lacks {', '.join(missing)}: it cannot be resumed; start a new run, best.pt stays"
        )
    return content


def _require_same(state: RunState, trainer: Engine, content: Mapping[str, Any]) -> int:
    """Check that the checkpoint belongs to this run; the steps it is into an epoch, up to all of them."""
    engine: Any = trainer.state
    own = state.must_match | {"steps an epoch": str(engine.epoch_length)}
    before = translated("must_match", content.get("must_match", {}))
    before["steps an epoch"] = str(content.get("epoch_length", engine.epoch_length))
    own = {name: value for name, value in own.items() if name in before or value != "None"}  # of a later version
    changed = changed_settings(before, own)
    if "settings" in content:  # checkpoints of version 0.1 do not have them
        changed += changed_settings(content["settings"], state.settings)
    if bool(content.get("length")) != bool(state.length):
        given, kept = (
            f"{each['minutes']:g}" if each else "not given" for each in (state.length, content.get("length"))
        )
        changed.append(f"minutes {given} instead of {kept}")
    if changed:
        raise ValueError(
            f"{state.last} belongs to a run with other settings ({', '.join(changed)}): "
            + how_to_resume(content.get("settings", {}), state.settings)
        )
    steps: int = content["iteration"] - content["epoch"] * engine.epoch_length
    begun = content["epoch"] + (steps > 0)
    if begun > engine.max_epochs:
        raise ValueError(f"{state.last} is in epoch {begun}; max_epochs must be at least that, got {engine.max_epochs}")
    return steps


def _require_best(state: RunState, content: Mapping[str, Any], steps: int) -> None:
    """Check ``best.pt`` now, not when it is to be published; a process killed right before it wrote it finds it here.

    Raises:
        ValueError: when it is damaged.
        FileNotFoundError: when it is gone.
    """
    epoch, best_epoch = content["epoch"], content["best_epoch"]
    if epoch == 0:
        return
    cure = f"To resume, put a copy of it back; {state.last} can be used as --checkpoint"
    try:
        best = checkpoints.read(state.best) if state.best.is_file() else None
    except ValueError as error:
        raise ValueError(f"{error}. {cure}") from error
    if steps == 0 and best_epoch in (-1, epoch):
        weights = checkpoints.network_weights(content)
        if best is None or not _same(checkpoints.network_weights(best), weights):
            state.write(state.best, weights)
    elif best is None and best_epoch != -1:
        raise FileNotFoundError(f"{state.best} of epoch {best_epoch} is gone. {cure}")


def _same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
