"""How long a training is: so many epochs, or as many as a number of minutes holds on this machine."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from bundle.console import counted
from bundle.model import checkpoints
from bundle.training.pace import Pace, busy


class RunLength:
    """The epochs of a run, and how many of them lie between two validations.

    With ``minutes``, the first steps are made on a copy of the network, which is thrown away, to measure what a step
    and a validation take; then the run is the one of so many epochs, from its first step on. What was measured is part
    of ``last.pt``: a resumed run does not measure again, and ends where an uninterrupted one does.

    Args:
        minutes: of the whole training, its measurement and validations included; loading the data is not. None: as
            many epochs as ``max_epochs`` says.
        max_epochs: without ``minutes``.
        val_interval: epochs between two validations. With ``minutes`` it may be another number, less than twice as
            many, so that the last epoch is validated, too.
        steps: of an epoch.
        measure: makes the first steps and tells what they take.
        run_dir: folder of the run.
        resume: the run goes on from its ``last.pt``.

    Attributes:
        epochs, val_interval: of the run.
        state: what ``last.pt`` holds; empty without ``minutes``.

    Raises:
        ValueError: when the minutes are less than one epoch takes; naming what it takes.
    """

    def __init__(
        self,
        minutes: float | None,
        max_epochs: int,
        val_interval: int,
        steps: int,
        measure: Callable[[], Pace],
        run_dir: str | os.PathLike[str] = ".",
        resume: bool = False,
    ) -> None:
        self.epochs, self.val_interval = max_epochs, val_interval
        self.state: dict[str, float] = {}
        if minutes is None:
            return
        pace = _kept(Path(run_dir) / "last.pt") if resume else None
        pace = measure() if pace is None else pace
        self.epochs, self.val_interval = epochs_within(60 * minutes, pace, steps, val_interval)
        self.state = {"minutes": float(minutes), **pace._asdict()}
        if idist.get_rank() == 0:
            print(_told(self, pace, steps), flush=True)


def epochs_within(seconds: float, pace: Pace, steps: int, val_interval: int) -> tuple[int, int]:
    """The most epochs that a time holds, and the interval of validations at which the last one is validated.

    Args:
        seconds: for all of it.
        pace: of the machine.
        steps: of an epoch.
        val_interval: epochs between two validations; as many validations are made as with it, but at least one.

    Raises:
        ValueError: when not even one epoch fits.
    """
    epoch = steps * pace.step
    left = seconds - pace.measuring

    def time(epochs: int) -> float:
        return epochs * epoch + max(1, epochs // val_interval) * pace.validation

    if time(1) > left:
        needed = math.ceil((time(1) + pace.measuring) / 60 * 100) / 100
        fewer = math.floor((left - pace.validation) / pace.step) if left > pace.validation else 0
        shorter = f", or an epoch of --samples_per_epoch {fewer}" if fewer >= 1 else ""
        or_else = shorter + (f"; {hint}" if (hint := busy()) else "")
        raise ValueError(
            f"--minutes {seconds / 60:g} is less than one epoch takes here ({steps} steps of {pace.step:.3g} s"
            f"{_validation(pace)}, and {pace.measuring:.3g} s to measure this): {needed:g} is the nearest{or_else}"
        )
    epochs = max(1, math.floor(left / (epoch + pace.validation)) - 1)  # less one: the quotient may be rounded up
    while time(epochs + 1) <= left:
        epochs += 1
    if not pace.validation:
        return epochs, val_interval
    validations = max(1, epochs // val_interval)
    interval = epochs // validations
    return validations * interval, interval


def seconds_of(epochs: int, pace: Pace, steps: int, val_interval: int) -> float:
    """What a training of so many epochs takes."""
    return pace.measuring + epochs * steps * pace.step + epochs // val_interval * pace.validation


def _kept(last: Path) -> Pace | None:
    """What was measured when the run began; None where it has not come to its first checkpoint."""
    content = checkpoints.read(last) if last.is_file() else None
    length = content.get("length") if isinstance(content, Mapping) else None
    return None if length is None else Pace(*(float(length[name]) for name in Pace._fields))


def _told(length: RunLength, pace: Pace, steps: int) -> str:
    count = length.epochs // length.val_interval if pace.validation else 0
    parts = f"{length.epochs} epochs of {steps} steps ({pace.step:.3g} s each)"
    if count:
        parts += f" and {counted(count, 'validation')} ({pace.validation:.3g} s each)"
    took: Any = seconds_of(length.epochs, pace, steps, length.val_interval) / 60
    about = f"about {took:.1f} min; longer by the clock where other programs run"
    return f"--minutes {length.state['minutes']:g}: {parts}, {about}"


def _validation(pace: Pace) -> str:
    return f" and a validation of {pace.validation:.3g} s" if pace.validation else ""
