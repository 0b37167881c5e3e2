"""Processes that are forked from one that has imported everything, which takes longer than what these tests run."""

from __future__ import annotations

import multiprocessing
import os
import resource
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path

#: one thread, and no GPU
QUIET = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
#: what a training or an inference imports, and what takes long
WARM = [
    "monai.bundle",
    "bundle.data.synthetic",
    "bundle.training.loss",
    "bundle.metrics.engine",
    "bundle.networks",
    "bundle.output.writer",
    "bundle.output.pictures",
    "bundle.tracking.run_folder",
    "bundle.training.schedules",
    "alembic.command",
    "matplotlib.backends.backend_agg",
    "mlflow.store.tracking.sqlalchemy_store",
    "torch._dynamo",
]


@contextmanager
def warm(*more: str) -> Iterator[ForkServerContext]:
    """A context whose processes are forked from a server, which starts with the first of them."""
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ |= QUIET
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*WARM, *more])
    try:
        yield context
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def log_to(path: Path) -> None:
    """From here on this process writes into a file."""
    stream = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)


def run_module(module: str, words: list[str], folder: Path, log: Path) -> None:
    """What a process does for ``python -m module words``."""
    sys.argv = [module, *words]
    with _within(folder, log):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_code(code: str, folder: Path, log: Path) -> None:
    """What a process does for a snippet."""
    with _within(folder, log):
        exec(compile(code, "snippet", "exec"), {"__name__": "__main__"})


@contextmanager
def _within(folder: Path, log: Path) -> Iterator[None]:
    import torch

    log_to(log)
    torch.set_num_threads(1)
    os.chdir(folder)
    try:
        yield
    finally:
        log.with_suffix(".seconds").write_text(str(cpu_seconds()))


def cpu_seconds() -> float:
    """Of this process and those of its processes that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
