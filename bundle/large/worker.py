"""What dask's workers do: they take a task once, then its blocks."""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import sys
from contextlib import suppress
from typing import Any

import torch

from bundle.large.executor import Record, Task
from bundle.large.job import machine

#: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX of glibc: where its own rules for the first two end
_MALLOPT = ((-3, 32 * 2**20), (-1, 64 * 2**20), (-8, 1))

#: of a worker: name of a plugin -> the task that it brought, or why this worker cannot do it
_tasks: dict[str, Task | str] = {}


def plugin(name: str, task: Task, threads: int, device: torch.device, own: bool) -> Any:
    """What brings the task to each worker once, to those that join or are started again, too."""

    class Bring(require_dask("distributed").WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            receive(worker, name, task, threads, device)
            if own:
                atexit.register(_leave)

        def teardown(self, worker: Any) -> None:
            _forget(name)

    return Bring()


def _forget(name: str) -> None:
    _tasks.pop(name, None)


def _leave() -> None:
    """End at once. Python would take the modules of torch and MONAI apart first, for seconds, until dask kills it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def receive(worker: Any, name: str, task: Task, threads: int, device: torch.device) -> None:
    torch.set_num_threads(threads)
    _keep_freed_memory()
    here = machine(device, threads)
    other = [f"{key} is {here.get(key)} there, {value} here" for key, value in task.made_by if here.get(key) != value]
    _tasks[name] = f"worker {worker.address} would compute other last bits: {'; '.join(other)}" if other else task


def _keep_freed_memory() -> None:
    """Let glibc reuse what a tile has freed, in all threads, as it does by itself in other programs.

    Dask's nanny sets MALLOC_TRIM_THRESHOLD_: every activation would be given back to the system, and the memory of the
    next one cleared by it, at half the speed.
    """
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOPT:
            mallopt(parameter, value)


def do(name: str, number: int) -> Record:
    task = _tasks.get(name, "a worker knows nothing of this job")
    if isinstance(task, str):
        raise RuntimeError(task)
    return task(number)


def require_dask(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeError(
            'blocks in several processes need dask, not installed here: pip install -e ".[large]"; '
            "--cluster serial does without"
        ) from error
