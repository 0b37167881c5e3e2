"""Timing side by side: in every round each contender runs once, so that a noisy neighbour hits all of them alike."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.targets import Target

_Result = TypeVar("_Result")

#: what :func:`timing_cells` fills
TIMING_COLUMNS = ("ms", "quartiles", "ratio")


@dataclass(frozen=True)
class Options:
    """What the command line sets.

    Attributes:
        repeats: timed rounds; fewer where a round takes long.
        full: also the cases that take minutes.
        base_channels: width of the first level of the networks at inference.
        seed: of everything random.
        device: of the networks, "cpu" or "cuda".
    """

    repeats: int = 5
    full: bool = False
    base_channels: int = 64
    seed: int = 0
    device: str = "cpu"

    @property
    def few(self) -> int:
        """Rounds of what takes seconds a call."""
        return min(self.repeats, 3)


@dataclass(frozen=True)
class Timing:
    """Seconds of one contender: median and quartiles over the rounds.

    Attributes:
        ratio: median over the rounds of its time to that of the first contender in the same round.
    """

    median: float
    low: float
    high: float
    ratio: float


@dataclass(frozen=True)
class Table:
    """Cells of text under a title; ``str()`` is Markdown.

    Attributes:
        targets: what was aimed at among these numbers.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Sequence[Target] = ()

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            first, *others = (
                cell.rjust(width) if index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            return "| " + " | ".join([first, *others]) + " |"

        rule = "|".join("-" * (width + 1) + ("-" if index == 0 else ":") for index, width in enumerate(widths))
        return "\n".join([f"{self.title}\n", line(self.columns), f"|{rule}|", *map(line, self.rows)])


class CheckError(RuntimeError):
    """A contender does not compute what it should: its time would mean nothing."""


def require(condition: bool | np.bool_, message: str) -> None:
    """Refuse to time what is wrong.

    Raises:
        CheckError: with the message, unless the condition holds.
    """
    if not condition:
        raise CheckError(message)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return (torch.linalg.vector_norm(found.float() - expected) / torch.linalg.vector_norm(expected)).item()


def tolerance(precision: str, device: str) -> float:
    """The relative error of a network's logits that rounding explains; fp32 on a GPU may be TF32."""
    if precision == "bf16":
        return 0.1
    return 1e-4 if device == "cpu" else 1e-2


def interleave(
    contenders: Mapping[str, Callable[[], Any]],
    repeats: int,
    device: str = "cpu",
    warm_up: bool = True,
    between: Callable[[], object] | None = None,
) -> dict[str, Timing]:
    """Time contenders against the first of them.

    Each runs once untimed (compilation, caches, memory), then once in every round; rounds start with a different
    contender each, and the garbage collector waits between them.

    Args:
        contenders: name -> what to time, without arguments.
        repeats: rounds, at least 1.
        device: the clock is read when all that was queued on it is done.
        warm_up: False leaves out the untimed calls, for what takes minutes.
        between: called untimed before every call.
    """
    names = list(contenders)
    if warm_up:
        for run in contenders.values():
            run()
    seconds = np.empty((repeats, len(names)))
    collecting = gc.isenabled()
    try:
        for turn in range(repeats):
            gc.collect()
            gc.disable()
            for position in range(len(names)):
                index = (turn + position) % len(names)
                if between is not None:
                    between()
                start = now(device)
                contenders[names[index]]()
                seconds[turn, index] = now(device) - start
            if collecting:
                gc.enable()
    finally:
        if collecting:
            gc.enable()
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75), axis=0)
    ratio = np.median(seconds / seconds[:, :1], axis=0)
    return {
        name: Timing(float(median[i]), float(low[i]), float(high[i]), float(ratio[i])) for i, name in enumerate(names)
    }


def now(device: str) -> float:
    """The clock in seconds, when all that was queued on the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def cpu_of_children() -> float:
    """CPU seconds of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def counted(work: Callable[[], _Result]) -> tuple[_Result, int]:
    """What a call gives, and its floating point operations: of what passes through torch only."""
    with FlopCounterMode(display=False) as counter:
        result = work()
    return result, counter.get_total_flops()


def timing_table(title: str, timings: Mapping[str, Timing], targets: Sequence[Target] = ()) -> Table:
    """A row for each contender."""
    rows = [[name, *timing_cells(timing)] for name, timing in timings.items()]
    return Table(title, ("", *TIMING_COLUMNS), rows, targets)


def timing_cells(timing: Timing) -> list[str]:
    """Milliseconds, quartiles and ratio as text."""
    return [_ms(timing.median), f"{_ms(timing.low)} .. {_ms(timing.high)}", digits(timing.ratio)]


def _ms(seconds: float) -> str:
    return digits(1000 * seconds)


def digits(value: float) -> str:
    """Three digits, but all of those before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
