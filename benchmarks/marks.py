"""Marks on standard error while ``monai.bundle run`` starts, for :mod:`benchmarks.startup`: CPU seconds so far.

They stand among the lines of ``python -X importtime``, and so tell which imports belong to which part.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events
from monai.data import CacheDataset

import bundle.data
import bundle.data.fingerprint
from benchmarks import MARK

IMPORTED, DATA = "python, torch, MONAI, this bundle", "of these: list and cache of the data"
#: event -> what ends with it
PARTS = {
    Events.STARTED: "handlers of the start: MLflow opens the run",
    Events.GET_BATCH_COMPLETED: "first sample",
    Events.ITERATION_STARTED: "to the first iteration",
}


class Marks:
    """Ignite handler, the last of the trainer's: marks when the trainer is there, and the first of some events."""

    def attach(self, engine: Engine) -> None:
        mark(DATA, _seconds[0])
        mark("config parsed, components made")
        for event in PARTS:
            engine.add_event_handler(event, functools.partial(_first, parts=dict(PARTS), event=event))


def mark(part: str, seconds: float | None = None) -> None:
    """Write a line; without ``seconds`` the CPU time of the process."""
    print(MARK, time.process_time() if seconds is None else seconds, part, file=sys.stderr, flush=True)


def _first(engine: Engine, parts: dict[Events, str], event: Events) -> None:
    if part := parts.pop(event, None):
        mark(part)


_seconds = [0.0]


def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            _seconds[0] += time.process_time() - start

    return run


bundle.data.datalist = _timed(bundle.data.datalist)
bundle.data.fingerprint.fingerprint = _timed(bundle.data.fingerprint.fingerprint)
CacheDataset.__init__ = _timed(CacheDataset.__init__)  # type: ignore[method-assign]
mark(IMPORTED)
