"""The folder of a run: its name, its place, and what must be true before training starts."""

from __future__ import annotations

import csv
import getpass
import hashlib
import logging
import os
import re
import secrets
import tempfile
import time
from pathlib import Path
from weakref import WeakValueDictionary

import torch.distributed as dist
from filelock import FileLock, Timeout

from bundle.atomic import require_writable

logger = logging.getLogger(__name__)

#: what a training writes into its folder before its first step; pictures, checkpoints and all else come later
_AT_START = ("card.json", "history.csv", "mlflow_run_id.txt")
#: of the runs that this process works on, by their folders
_locks: WeakValueDictionary[Path, FileLock] = WeakValueDictionary()
#: seconds that the worker processes of a training that was killed may need to notice
_PATIENCE = 10.0


class _RunDir(str):
    """The path of a run's folder, which is this process's for as long as this object lives."""

    lock: FileLock

    def __new__(cls, folder: Path, lock: FileLock) -> _RunDir:
        path = super().__new__(cls, folder)
        path.lock = lock
        return path

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # a copy, as other processes get it, is a path and no more


def open_run(output_dir: str | os.PathLike[str], run_name: str | None = None, resume: bool = False) -> str:
    """Choose the folder ``output_dir/run_name`` of a training run, or find it again to resume.

    It is made by the first who writes into it. A training that ended before its first step does not keep the name.

    Args:
        output_dir: folder of all runs; made if absent.
        run_name: None makes a unique one of date, time and four random letters. With several processes rank 0
            decides and tells the others.
        resume: continue the run from its last checkpoint, or else from the beginning. One that was killed before it
            had a folder begins, with a warning, for the name may be mistyped.

    Returns:
        the folder's path; while that object lives, no other process of this machine can open the run.

    Raises:
        ValueError: for a name that is no plain folder name, ``resume`` without a name, or of a run that has lost its
            ``last.pt``: it would silently begin again.
        FileExistsError: when the run exists and is not to be resumed: nothing is written over.
        BlockingIOError: when another process is training the run: two would write over each other's checkpoints.
        OSError: of its kind, when the folder cannot be written.
    """
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    if several and dist.get_rank() > 0:
        names: list[str | None] = [None]
        dist.broadcast_object_list(names, src=0)
        if names[0] is None:
            raise RuntimeError("rank 0 could not open the run, see its message")
        return names[0]
    path = None
    try:
        path = _open(Path(output_dir), run_name, resume)
    finally:
        if several:
            dist.broadcast_object_list([path], src=0)
    return path


def _open(output_dir: Path, run_name: str | None, resume: bool) -> str:
    if run_name is None:
        if resume:
            raise ValueError(f"resume needs run_name: one of {_known(output_dir)}")
        run_name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    run_name = str(run_name)  # the command line reads --run_name 7 as a number
    if not re.fullmatch(r"[\w.+-]+", run_name) or run_name.startswith("."):
        raise ValueError(f"run_name must be letters, digits and _ . + - (it names a folder), got {run_name!r}")
    path = output_dir / run_name
    begun = _begun(path)
    if begun and not resume:
        done = "exists" if any(path.glob("*.pt")) else "exists, but ended before its first checkpoint"
        raise FileExistsError(
            f"run {path} {done}: add --resume true to continue it, or choose another run_name; nothing is written over"
        )
    if resume:
        _require_last(path)
    if resume and not begun:
        logger.warning("there is no run %s yet: it starts from the beginning; runs here: %s", path, _known(output_dir))
    require_writable(path if begun else output_dir)
    return _RunDir(path, _lock(path))


def _begun(run: Path) -> bool:
    """Whether there is anything in the folder that another training must not take for its own."""
    found = [file for file in run.iterdir() if not file.name.endswith(".part")] if run.is_dir() else []
    return any(file.name not in _AT_START for file in found) or _epoch(run) > 0


def _epoch(run: Path) -> int:
    """The last one of the record, begun or complete; 0 before the first step."""
    try:
        with (run / "history.csv").open(newline="", encoding="utf-8", errors="replace") as file:
            epochs = [row["epoch"] or "" for row in csv.DictReader(file)]
    except (OSError, KeyError, csv.Error):
        return 0
    return max((int(epoch) for epoch in epochs if epoch.isdecimal()), default=0)


def _require_last(run: Path) -> None:
    """Check that ``last.pt`` is there if it has ever been: it is written before ``best.pt`` and the second epoch."""
    if (run / "last.pt").is_file():
        return
    best, epoch = (run / "best.pt").is_file(), _epoch(run)
    if best or epoch > 1:
        left = " and ".join(["best.pt"] * best + [f"{epoch} epochs of history.csv"] * (epoch > 1))
        raise ValueError(
            f"run {run} has {left}, but no last.pt, so it cannot be resumed: put a copy of last.pt back, choose "
            f"another run_name, or remove {run} to start again"
        )


def _lock(folder: Path) -> FileLock:
    """Keeps other processes of this machine out until it is dropped; one that is killed lets go.

    The file is not in the folder, which is made later, by the first who writes into it.
    """
    folder = folder.resolve()
    # in a container the user may have no name
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    locks = Path(tempfile.gettempdir()) / f"seamless-unet-{user}"
    locks.mkdir(exist_ok=True)
    file = locks / f"{hashlib.sha256(bytes(folder)).hexdigest()[:16]}.lock"
    lock = _locks.setdefault(folder, FileLock(file))
    try:
        if not lock.is_locked:
            lock.acquire(timeout=_PATIENCE, poll_interval=0.1)
    except Timeout:
        raise BlockingIOError(
            f"run {folder} is being trained by another process: wait for it, end it, or choose another run_name"
        ) from None
    return lock


def _known(output_dir: Path) -> str:
    names = sorted(p.parent.name for p in output_dir.glob("*/last.pt"))
    return ", ".join(names[-5:]) if names else f"none in {output_dir}"
