"""Makes the Nth write access of this process below some folders fail, or the process die in it.

Every access by Python's own functions counts: files opened for writing and what is written into them, folders made,
files moved, copied, cut, flushed to the disk and removed. What libraries in C write by themselves (SQLite, ITK,
TorchScript) does not; a limit on the size of files reaches that.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

#: EIO: this access alone; ENOSPC: from this one on no byte more fits; kill: the process ends in it, by SIGKILL
KINDS = ("EIO", "ENOSPC", "kill")
#: it gets a signal, and the access succeeds
SIGNALS = {"TERM": signal.SIGTERM, "STOP": signal.SIGSTOP}
#: number, operation and path of an access
Access = tuple[int, str, str]

_PAGE = 4096  # bytes that Linux writes before it looks whether the process is being killed
_NEEDS_SPACE = ("open", "write", "mkdir", "symlink", "link", "sendfile")
_FREES_SPACE = ("unlink", "remove", "rmdir", "truncate", "ftruncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND


class _Faults:
    def __init__(self, folders: Sequence[Path], record: Path, kind: str | None, which: int | tuple[str, str]) -> None:
        self.folders = tuple(str(folder) for folder in folders)
        self.kind, self.which, self.count, self.full = kind, which, 0, False
        self.lock = threading.Lock()
        self.write = os.write
        self.record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def place(self, thing: Any, dir_fd: int | None = None) -> str | None:
        """The watched path of a path or of an open file; None for any other."""
        try:
            if isinstance(thing, int):
                path = os.readlink(f"/proc/self/fd/{thing}")
            else:
                root = os.getcwd() if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
                path = os.path.join(root, os.fsdecode(thing))
        except (OSError, TypeError):
            return None
        return path if path.startswith(self.folders) else None

    def touch(self, operation: str, path: str, torn: Callable[[int], object] | None = None) -> None:
        """Count an access, and fail in the one that was asked for.

        Args:
            torn: writes a part, which ends at a multiple of so many bytes.
        """
        with self.lock:
            self.count += 1
            self.write(self.record, f"{self.count}\t{operation}\t{path}\n".encode())
            hit = self.kind is not None and self.which in (self.count, (operation, os.path.basename(path)))
            self.which = 0 if hit else self.which
            self.full |= hit and self.kind == "ENOSPC" and operation not in _FREES_SPACE
        if hit and self.kind == "kill":
            if torn:
                torn(_PAGE)
            os.kill(os.getpid(), signal.SIGKILL)
        if hit and self.kind in SIGNALS:
            os.kill(os.getpid(), SIGNALS[self.kind])
            return
        if hit and torn:
            torn(1)
        if (hit and self.full) or (self.full and operation in _NEEDS_SPACE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if hit:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def wrapped(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(thing: Any, *args: Any, **kwargs: Any) -> Any:
            moved = name in ("replace", "rename", "link", "symlink")
            path = self.place(args[0] if moved else thing, kwargs.get("dir_fd"))
            if path is not None and (name != "open" or (args[0] if args else kwargs["flags"]) & _WRITING):
                self.touch(name, path)
            return real(thing, *args, **kwargs)

        return call

    def open(self) -> Callable[..., Any]:
        real, faults = io.open, self

        class Raw(io.FileIO):
            def write(self, content: Any) -> int:
                view = memoryview(content).cast("B")

                def torn(multiple: int) -> None:
                    super(Raw, self).write(view[: len(view) // 2 // multiple * multiple])

                faults.touch("write", self.watched, torn)
                return super().write(content)

            def truncate(self, size: int | None = None) -> int:
                faults.touch("truncate", self.watched)
                return super().truncate(size)

        def open_(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            path = faults.place(file) if set(mode) & set("wax+") else None
            if path is None:
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            faults.touch("open", path)
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            raw.watched = path
            if buffering == 0:
                return raw
            stream = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)

        return open_


def arm(folders: Sequence[Path], record: Path, kind: str | None = None, which: int | tuple[str, str] = 0) -> None:
    """From now on count what this process does below ``folders``, and fail in one access.

    Args:
        folders: beginnings of paths.
        record: of the accesses, for :func:`read_record`.
        kind: one of :data:`KINDS` or :data:`SIGNALS`; None lets all succeed.
        which: its number, from 1; or operation and name of a file, for the first of these.
    """
    faults = _Faults(folders, record, kind, which)
    io.open = builtins.open = faults.open()  # type: ignore[assignment]
    for name in (
        *("replace", "rename", "link", "symlink", "unlink", "remove", "rmdir", "mkdir", "open"),
        *("fsync", "truncate", "ftruncate", "sendfile"),
    ):
        setattr(os, name, faults.wrapped(name))


def read_record(record: Path) -> list[Access]:
    lines = record.read_text().splitlines() if record.is_file() else []
    return [(int(number), operation, path) for number, operation, path in (line.split("\t") for line in lines)]
