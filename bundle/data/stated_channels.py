"""How many channels a file says it has, and how it calls them; from its header alone."""

from __future__ import annotations

import os
from functools import lru_cache

import nibabel

from bundle.data.channel_names import COLOURS, StatedChannels, channels_of_tiff
from bundle.data.errors import unreadable
from bundle.data.formats import (
    META_IMAGE,
    NIFTI,
    PLANAR,
    TIFF,
    extension,
    itk_header,
    open_tiff,
    require_file,
)
from bundle.data.stores.window import open_whole
from bundle.data.windows import window_of


def stated_channels(path: str | os.PathLike[str]) -> StatedChannels:
    """What the header of a file says.

    Names are those of OME-XML, or the labels that ImageJ gives the channels of a hyperstack; those of a colour picture
    (PNG, JPEG, BMP, a TIFF that says RGB) are "red", "green" and "blue".

    Raises:
        UnreadableImageError: when the header cannot be read.
        ImageError: for a TIFF whose pages differ in size.
    """
    require_file(path)
    if (window := window_of(path)) is not None:
        return open_whole(window.file).stated
    status = os.stat(path)
    return _remember(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)  # asked for each slice of a stack
def _remember(path: str, modified_ns: int, size: int) -> StatedChannels:
    kind = extension(path)
    with unreadable(path):
        if kind in TIFF:
            with open_tiff(path) as file:
                return channels_of_tiff(file)
        if kind in NIFTI:
            shape = nibabel.load(path).shape  # type: ignore[attr-defined]
            return StatedChannels(int(shape[-1]) if len(shape) > 3 else 1)
        count = itk_header(path).GetNumberOfComponents()
        if kind in META_IMAGE:
            return StatedChannels(count)
        count = 3 if kind in PLANAR and count == 4 else count  # the fourth is opacity
        return StatedChannels(count, COLOURS if count == 3 else None)
