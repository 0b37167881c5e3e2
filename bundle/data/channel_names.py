"""Names of channels, and those of an open TIFF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tifffile

from bundle.console import counted
from bundle.data.formats import has_opacity, tiff_axes, tiff_series
from bundle.data.pixel_size import ome_pixels

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

    @property
    def named(self) -> str:
        """The names in brackets, for messages; empty where they are not known."""
        return f" ({', '.join(self.names)})" if self.names else ""

    def __str__(self) -> str:
        return f"{counted(self.count, 'channel')}{self.named}"

    def may_be(self, wanted: StatedChannels) -> bool:
        """Whether the names are those wanted; they say nothing where they are not known, or of a single channel."""
        return self.count < 2 or not self.names or not wanted.names or same_names(self.names, wanted.names)


def same_names(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether names are the same, in this order; capitals do not count."""
    return [name.casefold() for name in names] == [name.casefold() for name in others]


def are_colours(names: Sequence[str] | None) -> bool:
    """Whether channels with these names are red, green and blue."""
    return names is not None and tuple(names) == COLOURS


def channels_option(numbers: Sequence[int]) -> str:
    """As it stands on a command line."""
    return f'--channels "{list(numbers)}"'


def option_to_fit(stated: StatedChannels, expected: StatedChannels) -> str:
    """The option that makes what the network expects of a file."""
    places = {name.casefold(): number for number, name in enumerate(stated.names or ())}
    wanted = [name.casefold() for name in expected.names or ()]
    if wanted and all(name in places for name in wanted):
        return f"add {channels_option([places[name] for name in wanted])}"
    if expected.count == 1 and stated.count == 3:
        return (
            f"add --channels luminance, or {channels_option([0])} for the first; if they are three slices, save them "
            "as such (tifffile: photometric='minisblack')"
        )
    if stated.count >= expected.count:
        return f"choose by {channels_option(range(expected.count))}, say, which goes by their place in the file"
    if stated.count == 1:
        option = channels_option([0] * expected.count)
        return f"{option} gives it {expected.count} times; better are images with all of them"
    return "it needs images with all of them"


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
