"""Values, and none of MONAI's expressions, which a config would run as code: in a request, in a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: how an expression, a reference and a macro begin in a MONAI config
_MARKS = ("$", "@", "%")
#: entries that make a mapping a component of a config
_COMPONENT = ("_target_", "_requires_", "_mode_", "_disabled_")


def require_values(content: Any, name: str = "request") -> None:
    """Check everything within ``content``, as deep as it goes.

    Raises:
        ValueError: naming the first entry that a config would not take as it is.
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key in _COMPONENT:
                raise ValueError(f"{name} must be a value, got an object with {key!r}, which would be run as code")
            require_values(str(key), f"the name of an entry of {name}")
            require_values(value, f"{name}, {key}")
    elif isinstance(content, (list, tuple)):
        for value in content:
            require_values(value, name)
    elif isinstance(content, str) and content.strip().startswith(_MARKS):
        raise ValueError(f"{name} must be a value, got {content!r}: what begins with $, @ or % would be run as code")
