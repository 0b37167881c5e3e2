"""The entry "image" of a card: which images a network takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.console import did_you_mean
from bundle.data.channels import Channels

_ENTRIES = ("channels", "channel_names", "select", "standardize", "context_slices", "spacing")


def image_entry(channels: Channels, robust: bool, context_slices: int = 0) -> dict[str, Any]:
    """As a card has it.

    Args:
        channels: of the images that trained the network.
        robust: of :class:`transforms.Standardize`.
        context_slices: neighbours on each side, see :mod:`bundle.data.context`.
    """
    return {
        "channels": channels.count,
        "channel_names": None if channels.names is None else list(channels.names),
        "select": channels.select if isinstance(channels.select, str) else list(channels.select),
        "standardize": {"robust": robust},
        **({"context_slices": context_slices} if context_slices else {}),
    }


def channels_in(
    image: Mapping[str, Any], count: int | None, select: str | Sequence[int] | None, whose: str
) -> Channels:
    """What images a network takes, by the entry "image" of its card.

    Args:
        image: the entry; empty for a card of an earlier version: all channels of a file, and ``count`` of them.
        count: input channels of the network.
        select: channels that somebody has chosen, whose names are not checked; None: those of the training.
        whose: what messages call the network.
    """
    known = image.get("channels", count)
    if select is not None:
        return Channels(select, known, whose=whose)
    return Channels(image.get("select", "all"), known, image.get("channel_names"), whose)


def require_image(card: Mapping[str, Any], path: Path) -> None:
    """Check the entry of a card.

    Raises:
        ValueError: naming the file, the entry and what is wrong.
    """
    image = card.get("image", {})
    for name in image:
        if name not in _ENTRIES:
            raise ValueError(f'"image" in {path} has an unknown entry {name!r}: {did_you_mean(name, _ENTRIES)}')
    count, names = image.get("channels"), image.get("channel_names")
    context, spacing, standardize = (image.get(name) for name in ("context_slices", "spacing", "standardize"))
    try:
        Channels(image.get("select", "all"), count)
    except ValueError as error:
        raise ValueError(f'"image" in {path}: {error}') from None
    strings = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(names) == count
    if names is not None and not strings:
        raise ValueError(
            f'"channel_names" in {path} must be null or a name for each of {count} channels, got {names!r}'
        )
    if standardize is not None and standardize not in ({"robust": True}, {"robust": False}):
        raise ValueError(f'"standardize" in {path} must be {{"robust": true or false}}, got {standardize!r}')
    if context is not None and (type(context) is not int or context < 0):
        raise ValueError(f'"context_slices" in {path} must be an integer of at least 0, got {context!r}')
    numbers = isinstance(spacing, list) and all(type(um) in (int, float) and um > 0 for um in spacing)
    if spacing is not None and not (numbers and len(spacing) in (2, 3)):
        raise ValueError(f'"spacing" in {path} must be null or two or three numbers above 0 (µm), got {spacing!r}')
    inputs = (card.get("network") or {}).get("in_channels")
    if count is not None and inputs is not None and inputs != count * (2 * (context or 0) + 1):
        raise ValueError(f'"channels" in {path} is {count}, which does not fit "in_channels" {inputs} of its network')
