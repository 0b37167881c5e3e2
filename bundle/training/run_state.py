"""What a training needs to go on, and the two files of its run that hold it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from ignite.metrics import Metric
from monai.engines import Workflow
from torch import nn

from bundle.model import checkpoints
from bundle.training.seeding import random_states, set_random_states


class RunState:
    """Network, optimizer, schedules and progress of a training; see :class:`bundle.training.SaveRun` for the arguments.

    Attributes:
        length: minutes, and what they meant when the run began; empty where epochs were given.
        settings: path -> text of what fixes what is trained, see :mod:`bundle.training.resume_settings`.
        best_epoch: that of ``best.pt``; -1 before it is known.
        complete_epoch: after which the run was complete; -1 while it is not.
        kept: for messages, the checkpoint that stays when the next one cannot be written.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        network: nn.Module,
        states: Mapping[str, Any],
        evaluator: Workflow | None = None,
        must_match: Mapping[str, Any] | None = None,
        running: Mapping[str, Metric] | None = None,
        length: Mapping[str, float] | None = None,
    ) -> None:
        self.run_dir = Path(run_dir)
        self.last, self.best = self.run_dir / "last.pt", self.run_dir / "best.pt"
        self.network = getattr(network, "module", network)
        self.states = dict(states)
        self.evaluator = evaluator
        self.must_match = {name: str(value) for name, value in (must_match or {}).items()}
        self.running = dict(running or {})
        self.length = dict(length or {})
        self.settings: dict[str, str] = {}
        self.best_epoch = -1
        self.complete_epoch = -1
        self.kept = "there is no checkpoint yet"

    def content(self, trainer: Engine, epochs: int) -> dict[str, Any]:
        """Of ``last.pt`` after so many whole epochs."""
        state = self.evaluator.state if self.evaluator is not None else None
        return {
            "network": self.network.state_dict(),
            **{name: thing.state_dict() for name, thing in self.states.items()},
            "must_match": self.must_match,
            **({"settings": self.settings} if self.settings else {}),
            **({"length": self.length} if self.length else {}),
            "epoch": epochs,
            "iteration": trainer.state.iteration,
            "epoch_length": trainer.state.epoch_length,
            "best_metric": float(state.best_metric) if state is not None else 0.0,
            "best_epoch": int(state.best_metric_epoch) if state is not None else -1,
        }

    def within_epoch(self, trainer: Engine) -> dict[str, Any]:
        """What ``last.pt`` holds on top of that in the middle of an epoch."""
        state: Any = trainer.state
        return {
            "running": {name: metric.state_dict() for name, metric in self.running.items()},
            "random": random_states(state.device),
        }

    def load(self, trainer: Engine, content: Mapping[str, Any]) -> None:
        """Put back what :meth:`content` gave.

        Raises:
            ValueError: as :func:`bundle.model.checkpoints.load_weights`.
        """
        checkpoints.load_weights(self.network, checkpoints.network_weights(content), self.last)
        for name, thing in self.states.items():
            thing.load_state_dict(content[name])
        trainer.state.epoch = content["epoch"]
        trainer.state.iteration = content["iteration"]
        if self.evaluator is not None:
            self.evaluator.state.best_metric = content["best_metric"]
            self.evaluator.state.best_metric_epoch = content["best_epoch"]
            self.best_epoch = content["best_epoch"]
        self.complete_epoch = content["epoch"] if content.get("complete") else -1

    def load_within_epoch(self, trainer: Engine, content: Mapping[str, Any]) -> None:
        """Put back what :meth:`within_epoch` gave."""
        state: Any = trainer.state
        self.load_running(content)
        set_random_states(content["random"], state.device)

    def load_running(self, content: Mapping[str, Any]) -> None:
        """Of what :meth:`within_epoch` gave, the metrics that add up over the epoch."""
        for name, metric in self.running.items():
            metric.load_state_dict(content["running"][name])

    def write(self, path: Path, content: Any) -> None:
        """Write one of the files.

        Raises:
            OSError: as :meth:`explained`.
        """
        with self.explained():
            checkpoints.write(path, content)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """A block that writes a checkpoint.

        Raises:
            OSError: when it cannot; the message names what stays, and how to resume.
        """
        try:
            yield
        except OSError as error:
            cure = "make room" if isinstance(error, checkpoints.DiskFullError) else "see to that"
            raise OSError(
                f"{error}; {self.kept}. To resume, {cure} and repeat the command with --run_name {self.run_dir.name} "
                "--resume true"
            ) from None
