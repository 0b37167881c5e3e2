"""Which channels of a file are the image that a network sees: all, their luminance, or some of them by number."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor

from bundle.console import counted
from bundle.data.channel_names import StatedChannels, channels_option, option_to_fit, same_names
from bundle.data.errors import ImageError
from bundle.data.item import Item
from bundle.data.readers import read_image
from bundle.data.stated_channels import stated_channels
from bundle.geometry.kinds import require_positive

logger = logging.getLogger(__name__)

#: in a MetaTensor's ``meta``: the names of its channels, where there are several and they are known
CHANNEL_NAMES = "channel_names"
#: ITU-R BT.601, as "L" in most programs
_LUMINANCE = (0.299, 0.587, 0.114)
_SAID: set[Path] = set()


@dataclass(frozen=True)
class Channels:
    """The channels of an image, and what they must be.

    Args:
        select: "all"; "luminance", one gray channel (0.299 R + 0.587 G + 0.114 B; gray stays as it is); or numbers of
            channels of the file from 0, in the order that the network gets them.
        count: channels that the network takes; None takes what comes.
        names: of the channels that the network was trained on. An image of several channels that are called otherwise,
            or stand in another order, is refused. None: not known, or not to be checked.
        whose: what messages call the network.

    Raises:
        ValueError: for another ``select``, or a ``count`` below 1.
    """

    select: str | Sequence[int] = "all"
    count: int | None = None
    names: Sequence[str] | None = None
    whose: str = "the network"

    def __post_init__(self) -> None:
        if isinstance(self.select, Sequence) and not isinstance(self.select, str):
            object.__setattr__(self, "select", tuple(self.select))
        numbers = self.select if isinstance(self.select, tuple) else ()
        if self.select not in ("all", "luminance") and not (
            numbers and all(type(number) is int and number >= 0 for number in numbers)
        ):
            nearest = f"[{self.select}]" if isinstance(self.select, int) else "[0]"
            raise ValueError(
                "channels must be all, luminance (makes colours gray) or a list of channel numbers from 0, got "
                f'{self.select!r}: give --channels luminance, or --channels "{nearest}"'
            )
        if self.count is not None:
            require_positive("channels", self.count)
        object.__setattr__(self, "names", None if self.names is None else tuple(self.names))

    @classmethod
    def of(cls, given: Channels | str | Sequence[int]) -> Channels:
        """What was given itself, or what it selects."""
        return given if isinstance(given, cls) else cls(cast(Any, given))

    def or_luminance(self) -> Channels:
        """For a viewer, where nobody can be asked: the luminance of colours where one channel is wanted."""
        gray = self.count == 1 and self.select == "all"
        return Channels("luminance", 1, whose=self.whose) if gray else self

    def require_same(self, others: Channels) -> None:
        """Check that images of ``others`` are those that a network takes.

        Raises:
            ValueError: for another number, or other names or another order.
        """
        found = StatedChannels(others.count or 1, cast(Any, others.names))
        wanted = StatedChannels(self.count or found.count, cast(Any, self.names))
        if found.count != wanted.count or not found.may_be(wanted):
            raise ValueError(
                f"the images have {found}, {self.whose} takes {wanted}: choose others by --channels, as "
                f"{channels_option(range(wanted.count))}"
            )

    def take(self, path: str, image: MetaTensor) -> MetaTensor:
        """The selected channels, shape (count, ...), of all channels of a file, shape (C, ...).

        ``meta`` has the names of several channels as ``channel_names`` where they are known.

        Raises:
            ImageError: for channels that are not there, or not those that are expected.
        """
        count = image.shape[0]
        stated = StatedChannels(count, stated_channels(path).names if count > 1 else None)
        equal = self.may_be_gray(count) and are_equal(image)
        if equal:
            _say_equal(path)
        found = self.require(path, stated, equal)
        image = cast(MetaTensor, self.pick(image, equal))
        if found.names is not None and found.count > 1:
            image.meta[CHANNEL_NAMES] = list(found.names)
        return image

    def may_be_gray(self, count: int) -> bool:
        """Whether colours that are equal in all pixels count as one channel, in an image of ``count`` channels."""
        return count == 3 and (self.select == "luminance" or (self.count == 1 and self.select == "all"))

    def pick(self, image: torch.Tensor, equal: bool = False) -> torch.Tensor:
        """The selected channels of an image, or of a part of it, shape (C, ...).

        Args:
            image: every channel of the file.
            equal: all pixels of the whole image are gray, and :meth:`may_be_gray` holds.
        """
        if isinstance(self.select, tuple):
            return image[list(self.select)]
        if equal:
            return image[:1]
        if image.shape[0] > 1 and self.select == "luminance":
            weights = image.new_tensor(_LUMINANCE).reshape(3, *[1] * (image.ndim - 1))
            return (image * weights).sum(0, keepdim=True)
        return image

    def selected(self, path: str, stated: StatedChannels) -> StatedChannels:
        """Number and names of what is selected of a file.

        Raises:
            ImageError: for channels that are not there.
        """
        if self.select == "luminance":
            if stated.count not in (1, 3):
                raise ImageError(
                    path, f"it has {stated}, luminance is of red, green and blue: choose by {channels_option([0])}"
                )
            return StatedChannels(1)
        if not isinstance(self.select, tuple):
            return stated
        if max(self.select) >= stated.count:
            raise ImageError(
                path,
                f"it has no channel {max(self.select)} of --channels {list(self.select)}: its channels are 0 to "
                f"{stated.count - 1}{stated.named}",
            )
        names = None if stated.names is None else tuple(stated.names[number] for number in self.select)
        return StatedChannels(len(self.select), names)

    def require(self, path: str, stated: StatedChannels, equal: bool = False) -> StatedChannels:
        """Number and names of what :meth:`pick` gives of a file, after checking that they are those expected.

        Raises:
            ImageError: for channels that are not there, or not those that are expected.
        """
        found = StatedChannels(1) if equal else self.selected(path, stated)
        expected = StatedChannels(found.count if self.count is None else self.count, cast(Any, self.names))
        if found.count != expected.count:
            wanted = f"{expected.count}{expected.named}"
            raise ImageError(path, f"it has {found}, {self.whose} expects {wanted}: {option_to_fit(stated, expected)}")
        if not found.may_be(expected):
            raise ImageError(
                path,
                f"its channels are {', '.join(found.names or ())}, {self.whose} expects "
                f"{', '.join(expected.names or ())}: {option_to_fit(stated, expected)}",
            )
        return found


def channels_of(items: Sequence[Item], select: str | Sequence[int] = "all") -> Channels:
    """What the images of a datalist have in common; their headers are read, and colours that may be gray.

    Where red, green and blue of every colour picture are equal, they count as one channel.

    Returns:
        the number of their channels, and the names where files tell them.

    Raises:
        ValueError: for another ``select``.
        ImageError: naming the odd file, when images differ in the number of channels, or in their names or order.
    """
    chosen = Channels(select)
    files = dict.fromkeys(item["image"] for item in items)
    found = {path: chosen.selected(path, stated_channels(path)) for path in files}
    if not found:
        return chosen
    counts = Counter(each.count for each in found.values())
    if chosen.select == "all" and set(counts) <= {1, 3} and counts[3]:
        coloured = [path for path, each in found.items() if each.count == 3]
        if all(are_equal(read_image(path, np.dtype(np.float32))[:3]) for path in coloured):
            _say_equal(coloured[0])
            return Channels(select, 1)
    (common, _), *others = counts.most_common()
    if others:
        if set(counts) == {1, 3}:
            advice = "--channels luminance makes one gray channel of each"
        else:
            advice = f"{channels_option(range(min(counts)))} takes those that all have"
        odd = next(path for path, each in found.items() if each.count == others[-1][0])
        raise ImageError(
            odd,
            f"it has {found[odd]}, {counts[common]} other image{'s have' if counts[common] > 1 else ' has'} "
            f"{common}, and all must have as many: {advice}, or move this image to another folder",
        )
    return Channels(select, common, _common_names(found, strict=chosen.select == "all" and common > 1))


def are_equal(image: torch.Tensor) -> bool:
    """Whether all channels of an image (C, ...) have the same pixels."""
    return all(bool((image[0] == other).all()) for other in image[1:])


def _common_names(found: dict[str, StatedChannels], strict: bool) -> tuple[str, ...] | None:
    """Those of most files that tell them; ``strict``: of all."""
    named = {path: each.names for path, each in found.items() if each.names is not None}
    if not named:
        return None
    names, times = Counter(named.values()).most_common(1)[0]
    odd = next((path for path, each in named.items() if not same_names(each, names)), None)
    if odd is None:
        return names
    if not strict:
        return None
    raise ImageError(
        odd,
        f"its channels are {', '.join(named[odd])}, those of {counted(times, 'other image')} "
        f"{', '.join(names)}: save it in their order and with their names, or let the place of a channel count by "
        f"{channels_option(range(len(names)))}",
    )


def _say_equal(path: str) -> None:
    """Once a folder."""
    folder = Path(path).parent
    if folder not in _SAID:
        _SAID.add(folder)
        logger.info("%s stores gray as colours (red = green = blue): such images count as one channel", path)
