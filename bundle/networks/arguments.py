"""Checks of what every network is made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundle.geometry.kinds import require_positive


def require_counts(**counts: int) -> None:
    """Check that numbers of channels and the like are integers of at least 1.

    Raises:
        ValueError: naming the argument and the nearest allowed value.
    """
    for name, value in counts.items():
        require_positive(name, value)


def require_dropout(dropout: float) -> None:
    """Check that a probability of dropout is one.

    Raises:
        ValueError: for what is no number, or outside of [0, 1).
    """
    number = isinstance(dropout, (int, float)) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a number in [0, 1), got {dropout!r}; the paper's is 0.5, none is 0")


def require_spatial_dims(spatial_dims: int) -> None:
    """Check that images have the number of axes that a network can be made for.

    Raises:
        ValueError: for anything but the whole numbers 2 and 3.
    """
    if not isinstance(spatial_dims, int) or spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}")


def require_switch(name: str, value: bool) -> None:
    """Check that a switch is one: the command line hands ``false`` over as text, which counts as true.

    Raises:
        ValueError: for anything but True and False.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, with a capital on the command line, too, got {value!r}")


def sequence_of(value: Any) -> list[Any]:
    """The elements of a list or tuple; nothing for what is neither, which no check of elements then lets pass."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
