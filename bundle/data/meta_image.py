"""The header of a MetaImage (.mha, .mhd): what it says, and which one file has the pixels."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from bundle.data.errors import UnreadableImageError

#: bytes at the start of a file in which its header ends
_HEADER = 2**20
_LINE = re.compile(rb"^[ \t]*(\w+)[ \t]*[=:][ \t]*([^\r\n]*?)[ \t]*\r?\n", re.MULTILINE)


class MetaHeader(NamedTuple):
    """What a header says.

    Attributes:
        fields: the last value of each name.
        file: that has the pixels: the header's own, or one beside it.
        start: bytes of the header in that file.
    """

    fields: dict[str, str]
    file: Path
    start: int

    @property
    def held(self) -> int:
        """Bytes behind the header."""
        return max(0, self.file.stat().st_size - self.start)

    @property
    def is_packed(self) -> bool:
        """Whether the pixels are compressed."""
        return is_true(self.fields.get("CompressedData", ""))


def is_true(text: str) -> bool:
    """As ITK reads it."""
    return text[:1] in ("T", "t", "1")


def meta_header(path: str | os.PathLike[str]) -> MetaHeader:
    """Read the header of a MetaImage.

    Raises:
        UnreadableImageError: when it names no file, several, or one of another folder, which could be any file.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(_HEADER) + b"\n"
    fields: dict[str, str] = {}
    for line in _LINE.finditer(head):
        fields[line[1].decode("latin-1")] = os.fsdecode(line[2])
        if line[1] == b"ElementDataFile":  # what follows are pixels
            break
    name = fields.get("ElementDataFile", "")
    if name == "LOCAL":
        return MetaHeader(fields, path, line.end())
    if not name or name != Path(name).name or not (path.parent / name).is_file():
        raise UnreadableImageError(
            path, f"its ElementDataFile must be LOCAL or the name of one file beside it, got {name[:80]!r}"
        )
    return MetaHeader(fields, path.parent / name, 0)
