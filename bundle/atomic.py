"""Files and folders that are written whole or not at all, whether a folder can be written, and the digest of a file."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

#: of this machine: a folder may be shared with others, whose processes nobody here can see
_HOST = re.sub(r"\W", "_", platform.node())


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary place for what will be ``path``; it gets there, in one step, when the block ends well.

    Until then, and for good when the block fails or the process is killed, ``path`` stays as it was. The block makes a
    file, or a folder, which takes the place of nothing or of an empty folder. It is called as ``path`` is, in a hidden
    folder beside it: libraries choose a format by the suffix, and nobody takes half a file for one of the others.

    Raises:
        OSError: of the kind and number of the failure, in the block or here; one sentence that names ``path``.
    """
    path = Path(path)
    folder = path.with_name(f".{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        part = folder / path.name
        yield part
        if part.is_file():
            with part.open("r+b") as file:
                os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise cannot_be_written(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cannot_be_written(path: str | os.PathLike[str], error: OSError) -> OSError:
    """The error as one of its kind and number, whose message names ``path`` in a sentence."""
    told = type(error)(f"{path} cannot be written ({error.strerror or error})")
    told.errno = error.errno
    return told


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a small text file in one step."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write names and values in one step; what JSON does not know is written as its text."""
    write_text(path, json.dumps(content, indent=4, default=str) + "\n")


def write_csv(
    path: str | os.PathLike[str], head: Iterable[str], rows: Iterable[Iterable[Any]], digits: int | None = None
) -> Path:
    """Write a table in one step; what is None or NaN stays empty.

    Args:
        digits: significant ones of a fraction; None: as many as it has.

    Returns:
        the path.
    """
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows((csv_text(cell, digits) for cell in row) for row in rows)
    return Path(path)


def csv_text(cell: Any, digits: int | None = None) -> Any:
    """What stands in a table; see :func:`write_csv`."""
    if not isinstance(cell, float):
        return cell
    return "" if math.isnan(cell) else cell if digits is None else f"{cell:.{digits}g}"


def append_csv(
    path: str | os.PathLike[str], head: Iterable[str], rows: Iterable[Iterable[Any]], fresh: bool = False
) -> None:
    """Add rows at the end of a table, or none of them; where there is none, or ``fresh``, make it in one step."""
    path = Path(path)
    before = path.stat().st_size if path.is_file() and not fresh else 0
    text: Any = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    if before == 0:
        with replacing(path) as part, part.open("w", **text) as stream:
            csv.writer(stream).writerows([head, *rows])
        return
    try:
        with path.open("a", **text) as stream:
            csv.writer(stream).writerows(rows)
    except OSError as error:
        with suppress(OSError):
            os.truncate(path, before)
        raise cannot_be_written(path, error) from error


def remove_leftovers(folder: str | os.PathLike[str], below: bool = False) -> None:
    """Remove what processes of this machine were about to write in ``folder`` when they were killed.

    Args:
        below: also in all folders below it.
    """
    for part in (Path(folder).rglob if below else Path(folder).glob)(f".{_HOST}-*.part"):
        found = re.fullmatch(rf"\.{_HOST}-(\d+)-\w+\.part", part.name)
        # one's own number was another's: before this process writes, or in another container
        if found and (int(found[1]) == os.getpid() or not psutil.pid_exists(int(found[1]))):
            shutil.rmtree(part, ignore_errors=True)


def require_writable(folder: str | os.PathLike[str], name: str = "output_dir") -> Path:
    """Make the folder and try to write in it, before anything is computed.

    Returns:
        the folder, absolute and without links.

    Raises:
        OSError: of the kind of the failure, when it cannot be made or written; ``name`` is what the message calls it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise type(error)(
            f"{name} {str(folder)!r} cannot be written ({error.strerror}): choose another, for instance "
            f"{str(Path.cwd() / 'output')!r}"
        ) from error
    return folder.resolve()


def sha256(path: str | os.PathLike[str]) -> str:
    """64 hexadecimal digits of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
