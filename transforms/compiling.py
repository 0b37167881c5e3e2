"""Numba's compiler, with its cache where one can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """``numba.njit(cache=True, **options)``; without a cache where neither code nor home can be written.

    Containers that run as another user than they were built by have no such place; each process then compiles again.
    """

    def decorate(function: F) -> F:
        try:
            made: F = njit(cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function ...: no locator available"
            made = njit(**options)(function)
        return made

    return decorate
