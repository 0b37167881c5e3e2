"""Checks of what every network is made with."""

from __future__ import annotations

__all__ = ["require_counts"]


def require_counts(**counts: int) -> None:
    """Check that numbers of channels and the like are integers of at least 1.

    Raises:
        ValueError: naming the argument and the nearest allowed value.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1 (1 is the nearest), got {value!r}")
