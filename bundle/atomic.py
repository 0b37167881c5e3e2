"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

__all__ = ["remove_leftovers", "replacing", "write_text"]

#: of this machine: a folder may be shared with others, whose processes nobody here can see
_HOST = re.sub(r"\W", "_", platform.node())


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place, in one step, when the block ends well.

    Until then, and for good when the block fails or the process is killed, ``path`` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}.part")
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a small text file in one step."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that processes of this machine left in ``folder`` when they were killed."""
    for part in Path(folder).glob(".*.part*"):
        found = re.search(rf"\.{_HOST}-(\d+)\.part(-journal)?$", part.name)  # the journal is SQLite's
        # one's own number was another's: before this process writes, or in another container
        if found and (int(found[1]) == os.getpid() or not psutil.pid_exists(int(found[1]))):
            part.unlink(missing_ok=True)
