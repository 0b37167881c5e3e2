"""Names of classes, and the gray values and colours that stand for them in a label."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from transforms.labels.instances import IGNORE

#: in a table of values: pixels that nobody annotated
NOT_ANNOTATED = "not annotated"
#: added to 0xRRGGBB, so that no colour is a gray value
COLOUR = 1 << 24

#: of the metric that is the mean over classes
_MEAN = "mean"
_NAME = re.compile(r"[^\W_]([\w .+-]*[^\W_])?")
#: value of a label's pixel -> class
Values = Mapping[int, int]


def class_table(named: Any, source: str) -> tuple[tuple[str, ...], Values | None, Values | None]:
    """Names in their order, gray values and colours; None for a sort that the table does not have.

    Args:
        named: a list of names, or a table name -> values, see :func:`bundle.data.classes.classes_of_data`.
        source: what messages call it.

    Raises:
        ValueError: for names or values that are not allowed.
    """
    if not isinstance(named, (Mapping, list, tuple)):
        raise ValueError(f"{source} must be a list of names or a table name -> values, got {named!r}")
    names = [name for name in named if not is_not_annotated(name)]
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() == _MEAN:
            raise ValueError(
                f"{source}: a class name is letters and digits, with spaces, _ . + - between them, and not "
                f"{_MEAN!r}, got {name!r}"
            )
    if not 2 <= len(names) <= 256 or len({name.lower() for name in names}) < len(names):
        raise ValueError(f"{source} must have 2 to 256 different names, the background's first, got {names}")
    if not isinstance(named, Mapping):
        return tuple(names), None, None
    gray, colours = _codes(named, _gray_values, source), _codes(named, _colour_values, source)
    if isinstance(gray, str) and isinstance(colours, str):
        raise ValueError(gray)
    return tuple(names), None if isinstance(gray, str) else gray, None if isinstance(colours, str) else colours


def _codes(named: Mapping[str, Any], values_of: Callable[[Any], list[int]], source: str) -> Values | str:
    """Value -> class, or what is wrong with it."""
    found: dict[int, int] = {}
    owner: dict[int, str] = {}
    number = 0
    for name, given in named.items():
        ignored = is_not_annotated(name)
        values = values_of(given)
        if not values:
            return (
                f"{source}: class {name!r} must have a gray value, a list of them, [red, green, blue] of 0 to 255, or "
                f"a list of those, got {given!r}; all classes alike"
            )
        for value in values:
            if owner.setdefault(value, name) != name:
                return f"{source}: the value {shown_value(value)} stands for {owner[value]!r} and {name!r}"
            found[value] = IGNORE if ignored else number
        number += not ignored
    return found


def _gray_values(given: Any) -> list[int]:
    values = given if isinstance(given, (list, tuple)) else [given]
    whole = all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < COLOUR for value in values)
    return list(values) if whole else []


def _colour_values(given: Any) -> list[int]:
    if isinstance(given, int):
        given = [given] * 3
    if not isinstance(given, (list, tuple)):
        return []
    colours = given if given and all(isinstance(value, (list, tuple)) for value in given) else [given]
    parts = [_gray_values(one) for one in colours]
    if not all(len(one) == 3 and max(one) <= 255 for one in parts):
        return []
    return [COLOUR + (red << 16) + (green << 8) + blue for red, green, blue in parts]


def is_not_annotated(name: object) -> bool:
    """Whether a name means pixels that nobody annotated, however it is spelt."""
    return str(name).strip().lower().replace("_", " ") == NOT_ANNOTATED


def shown_value(value: int) -> str:
    """A value for a message: a colour as [red, green, blue]."""
    if value < COLOUR:
        return str(value)
    value -= COLOUR
    return str([value >> 16, value >> 8 & 255, value & 255])
