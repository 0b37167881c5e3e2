"""Names of parts of a large image, as QuPath gives them: ``slide.zarr [x=12000,y=8000,w=2048,h=2048]``."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from bundle.data.errors import ImageError

_NAME = re.compile(r"(?P<file>.+) \[(?P<place>[^\[\]]*)\]")
_PLACE = re.compile(r"(?:d=(?P<d>\d+(?:\.\d+)?),)?x=(?P<x>\d+),y=(?P<y>\d+),w=(?P<w>\d+),h=(?P<h>\d+)")


class Window(NamedTuple):
    """A rectangle of an image: file or store, first px along x and y, and size in px."""

    file: str
    x: int
    y: int
    width: int
    height: int

    def within(self, file: str | os.PathLike[str]) -> str:
        """The name of the same rectangle of another file."""
        return f"{os.fspath(file)} [x={self.x},y={self.y},w={self.width},h={self.height}]"


def window_of(path: str | os.PathLike[str]) -> Window | None:
    """The rectangle that a name stands for; None for that of a whole file.

    Raises:
        ImageError: for a rectangle without pixels, or one of a smaller level.

    Examples:
        >>> window_of("a.zarr [x=12,y=8,w=30,h=20]")
        Window(file='a.zarr', x=12, y=8, width=30, height=20)
    """
    named = _NAME.fullmatch(os.fspath(path))
    place = named and _PLACE.fullmatch(named["place"].replace(" ", ""))
    if not named or not place:
        return None
    if float(place["d"] or 1) != 1:
        raise ImageError(path, f"it is exported at downsample {place['d']}: export image and label at 1, the full size")
    x, y, width, height = (int(place[key]) for key in "xywh")
    if not width or not height:
        raise ImageError(path, "its width and height must be at least 1 px")
    return Window(named["file"], x, y, width, height)


def file_of(path: str | os.PathLike[str]) -> str:
    """The file or store that holds what a name stands for."""
    window = window_of(path)
    return os.fspath(path) if window is None else window.file
