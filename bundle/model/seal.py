"""The digest that a checkpoint carries within itself: a flipped bit anywhere in the file is found when it is read.

torch writes zip archives and does not look at their check sums when it reads them; these do not cover the archive's own
headers either. So the SHA-256 of the file stands at its end, as the comment of the archive, which every reader of zip
skips. It gets to the disk in one step with the weights, so no kill can part them.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

_MARK = b"sha256:"
_LENGTH = len(_MARK) + 64
#: the record that ends an archive without a comment: how it begins, its bytes
_END, _END_SIZE = b"PK\x05\x06", 22
_BLOCK = 2**20


def seal(path: Path) -> None:
    """Add the digest to an archive that torch has written, and wait until the file is on the disk."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)  # the length of the comment
        file.write(_LENGTH.to_bytes(2, "little"))
        size = file.seek(0, os.SEEK_END)
        digest = _digest(file, size)
        file.write(_MARK + digest)
        file.flush()
        os.fsync(file.fileno())


def is_whole(file: BinaryIO) -> bool:
    """Whether a file has the content that its digest says; of version 0.1, whose files have none, that each record has
    its check sum. What is no archive at all is for its reader to refuse.

    Raises:
        zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError: for an archive of version 0.1 that is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LENGTH))
    tail = file.read()
    if tail.startswith(_MARK):
        return _digest(file, size - _LENGTH) == tail[len(_MARK) :]
    file.seek(0)
    if file.read(2) != b"PK":
        return True
    if tail[-_END_SIZE:][: len(_END)] != _END or tail[-2:] != b"\0\0":
        return False  # cut short, or the mark itself is damaged
    return zipfile.ZipFile(file).testzip() is None


def _digest(file: BinaryIO, size: int) -> bytes:
    """64 hexadecimal digits of the first ``size`` bytes."""
    found = hashlib.sha256()
    file.seek(0)
    while size > 0 and (block := file.read(min(size, _BLOCK))):
        found.update(block)
        size -= len(block)
    return found.hexdigest().encode()
