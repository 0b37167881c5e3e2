"""Processes that are forked from one that has imported everything, which takes longer than what these tests run."""

from __future__ import annotations

import multiprocessing
import os
import resource
import runpy
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

#: one thread, and no GPU
QUIET = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
#: what a training or an inference imports, and what takes long
WARM = [
    "pytest",
    "hypothesis",
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
    """A context whose processes are forked from a server, one for all tests, that starts with the first of these."""
    yield _started(*more)


def _started(*more: str) -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*WARM, *more])
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ |= QUIET
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return context


def run(words: Sequence[str], folder: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What ``python -m`` the words does, without its imports; what it says passes through files in ``folder``."""
    log = folder / f"{secrets.token_hex(4)}.log"
    process = _started().Process(target=run_module, args=(words[0], [*words[1:]], cwd, log, log.with_suffix(".err")))
    process.start()
    process.join(300)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired([*words], 300)
    said = [file.read_text() for file in (log, log.with_suffix(".err"))]
    return subprocess.CompletedProcess([*words], process.exitcode, *said)


def log_to(path: Path, errors: Path | None = None) -> None:
    """From here on this process writes into a file, or into two."""
    for number, file in ((1, path), (2, errors or path)):
        stream = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, number)
        os.close(stream)


def run_module(module: str, words: list[str], folder: Path, log: Path, errors: Path | None = None) -> None:
    """What a process does for ``python -m module words``."""
    sys.argv = [module, *words]
    if not hasattr(sys.modules.get(module), "__path__"):
        sys.modules.pop(module, None)  # runpy would warn that it is there already
    with _within(folder, log, errors):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_code(code: str, folder: Path, log: Path) -> None:
    """What a process does for a snippet."""
    with _within(folder, log):
        exec(compile(code, "snippet", "exec"), {"__name__": "__main__"})


@contextmanager
def _within(folder: Path, log: Path, errors: Path | None = None) -> Iterator[None]:
    import torch

    log_to(log, errors)
    torch.set_num_threads(1)
    os.chdir(folder)
    try:
        yield
    except Exception:
        sys.excepthook(*sys.exc_info())  # as at the end of a program; multiprocessing would print it by itself
        sys.exit(1)
    finally:
        log.with_suffix(".seconds").write_text(str(cpu_seconds()))


def cpu_seconds() -> float:
    """Of this process and those of its processes that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
