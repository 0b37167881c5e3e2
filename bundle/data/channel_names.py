"""Names of channels, and those of an open TIFF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tifffile

from bundle.data.formats import has_opacity, tiff_axes, tiff_series
from bundle.data.pixel_size import ome_pixels

__all__ = ["COLOURS", "StatedChannels", "are_colours", "channels_of_tiff"]

#: names of the channels of a colour picture
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class StatedChannels:
    """Number of channels, without opacity, and their names; None where the file does not name each of them."""

    count: int
    names: tuple[str, ...] | None = None

    @classmethod
    def called(cls, count: int, names: Sequence[str]) -> StatedChannels:
        """With the names, where each channel has one of its own."""
        known = len(names) == count and all(names) and len(set(names)) == count
        return cls(count, tuple(names) if known else None)


def are_colours(names: Sequence[str] | None) -> bool:
    """Whether channels with these names are red, green and blue."""
    return names is not None and tuple(names) == COLOURS


def channels_of_tiff(file: tifffile.TiffFile) -> StatedChannels:
    """What an open TIFF says, see :func:`bundle.data.stated_channels.stated_channels`."""
    series = tiff_series(file)
    axes = tiff_axes(series)[3]
    count = math.prod(series.shape[axis] for axis in axes) - has_opacity(series)
    colours = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
    if count == 3 and "S" in series.axes and series.keyframe.photometric in colours:
        return StatedChannels(count, COLOURS)
    names = _ome(file.ome_metadata) if file.is_ome else _imagej(file, count) if file.is_imagej else ()
    return StatedChannels.called(count, names)


def _ome(text: str | None) -> list[str]:
    channels = ome_pixels(text).get("Channel", [])
    return [str(each.get("Name", "")).strip() for each in (channels if isinstance(channels, list) else [channels])]


def _imagej(file: tifffile.TiffFile, count: int) -> list[str]:
    """Labels of the first planes: channels run fastest."""
    notes: dict[str, Any] = file.imagej_metadata or {}
    labels = notes.get("Labels", [])
    return [str(label).strip() for label in labels[:count]] if count > 1 and isinstance(labels, list) else []
