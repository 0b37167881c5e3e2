"""Ranges of slices, named as "stack:12-13"; those of a volume become items: one stack can train and validate."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bundle.data.formats import slice_count
from bundle.data.item import Item

_RANGE = re.compile(r"(.*):(\d+)(?:-(\d+))?")


def cut_ranges(items: Sequence[Item], names: Sequence[str], option: str) -> tuple[list[Item], list[str]]:
    """Cut volumes where names ask for some of their slices.

    Args:
        items: datalist; those of whole volumes, or of ranges cut earlier, can be cut.
        names: of items; "NAME:12-13" or "NAME:12" are slices of a volume along its last axis, from 0, both ends taken.
            Where the slices of a stack are items already, they are these; ":12-13" are items by their place in the
            list, from 0.
        option: that the names were given by, for messages.

    Returns:
        the datalist with the ranges, and what lies before and behind each, in the place of their volume, each with
        "slices" and a name such as "NAME:0-11"; and the names that the items have there.

    Raises:
        ValueError: for slices that are not there, in another part already, or named twice.
    """
    made, renamed = list(items), []
    for name in map(str, names):
        asked = None if any(item["name"] == name for item in made) else _RANGE.fullmatch(name)
        if asked is None:
            renamed.append(name)
            continue
        volume, first, last = asked[1], int(asked[2]), int(asked[3] or asked[2])
        if listed := _names_in_order(items, volume):
            missing = [place for place in range(first, max(last, first) + 1) if place not in listed]
            if missing or last < first:
                raise ValueError(
                    f"{option} names {name!r}: what can be chosen lies from {min(listed)} to {max(listed)}"
                    + (f", without {missing[0]}" if missing and missing[0] < max(listed) else "")
                )
            renamed += [listed[place] for place in range(first, last + 1)]
            continue
        free = [i for i, item in enumerate(made) if "slice" not in item and item["name"] not in renamed]
        pieces = {i: _span(made[i]) for i in free if _volume(made[i]) == volume}
        place = next((i for i, (start, stop) in pieces.items() if start <= first <= last < stop), None)
        if place is None and pieces:
            there = ", ".join(f"{start} to {stop - 1}" for start, stop in pieces.values())
            raise ValueError(f"{option} names {name!r}: the slices of {volume} that can be chosen are {there}")
        renamed.append(name if place is None else f"{volume}:{first}-{last}")
        if place is not None:
            start, stop = pieces[place]
            cuts = [(a, b) for a, b in ((start, first), (first, last + 1), (last + 1, stop)) if a < b]
            made[place : place + 1] = [
                {**made[place], "name": f"{volume}:{a}-{b - 1}", "slices": (a, b)} for a, b in cuts
            ]
    if len(set(renamed)) < len(renamed):
        raise ValueError(f"{option} names one item twice: {', '.join(map(str, names))}")
    return made, renamed


def _names_in_order(items: Sequence[Item], stack: str) -> dict[int, str]:
    """Slice -> name of the items that are slices of a stack; with no name of one, place -> name of all items."""
    if not stack:
        return {place: item["name"] for place, item in enumerate(items)}
    return {
        item["slice"]: item["name"] for item in items if item["name"].rpartition("-")[0] == stack and "slice" in item
    }


def is_range(name: str) -> bool:
    """Whether a name, perhaps with a remark behind it, is that of a range of the slices of a volume."""
    return _RANGE.match(name) is not None


def range_hint(items: Sequence[Item], option: str) -> str:
    """How to choose slices of the first of ``items``; nothing where that is no volume."""
    if not items or "slice" in items[0]:
        return ""
    start, stop = _span(items[0])
    first = max(start + 1, stop - max(1, (stop - start) // 5))
    chosen = f"{_volume(items[0])}:{first}-{stop - 1}"
    return f", or choose some slices of the volume: --{option} \"['{chosen}']\"" if stop - start > 1 else ""


def _volume(item: Item) -> str:
    return item["name"].rpartition(":")[0] if "slices" in item else item["name"]


def _span(item: Item) -> tuple[int, int]:
    """First slice, and the one behind the last."""
    return item["slices"] if "slices" in item else (0, slice_count(item["image"]))
