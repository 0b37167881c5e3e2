"""Quantiles of an image that is larger than memory, exactly: two passes, each counts half of the bits of its pixels."""

from __future__ import annotations

from collections import Counter

import numpy as np

from transforms.intensity.standardize import EDGES

_HALF = 16


class Quantiles:
    """The gray values between which a channel of a slice is clipped, as ``numpy.quantile`` has them of all its pixels.

    A first pass (:meth:`count`) counts pixels by the upper 16 bits of their fp32 numbers, which are put into their
    order; a second one (:meth:`refine`) by the lower 16 bits, of those pixels only among which a quantile is.
    """

    def __init__(self) -> None:
        self._upper: Counter[int] = Counter()
        self._lower: dict[int, Counter[int]] = {}

    def count(self, pixels: np.ndarray) -> None:
        """The first pass, part by part."""
        _add(self._upper, _ordered(pixels) >> _HALF)

    def refine(self, pixels: np.ndarray) -> None:
        """The second pass, the same parts in any order."""
        if not self._lower:
            self._lower = {self._bin(rank)[0]: Counter() for ranks, _ in self._places() for rank in ranks}
        keys = _ordered(pixels)
        upper = keys >> _HALF
        for number, found in self._lower.items():
            _add(found, keys[upper == number] & (2**_HALF - 1))

    def edges(self) -> tuple[float, float] | None:
        """The lower and the upper one, fp32; None where they are equal: nothing is clipped."""
        found = []
        for ranks, part in self._places():
            between = np.array([self._value(rank) for rank in ranks], np.float32)
            found.append(np.quantile(between, [part])[0])  # interpolates as it does in the whole image
        low, high = found
        return (float(np.float32(low)), float(np.float32(high))) if low < high else None

    def _places(self) -> list[tuple[tuple[int, int], float]]:
        """Of every quantile the ranks of the two pixels between which it is, and how far behind the first."""
        last = sum(self._upper.values()) - 1
        places = [last * each for each in EDGES]
        return [((int(place), min(int(place) + 1, last)), place - int(place)) for place in places]

    def _bin(self, rank: int) -> tuple[int, int]:
        return _at(self._upper, rank)

    def _value(self, rank: int) -> np.float32:
        upper, before = self._bin(rank)
        lower, _ = _at(self._lower[upper], rank - before)
        return _number(upper << _HALF | lower)


def _ordered(pixels: np.ndarray) -> np.ndarray:
    """uint32 in the order of the fp32 numbers."""
    bits = (np.ravel(pixels).astype(np.float32) + np.float32(0)).view(np.uint32)  # -0 is 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(2**31))


def _number(key: int) -> np.float32:
    bits = key ^ 2**31 if key >> 31 else ~key & (2**32 - 1)
    return np.uint32(bits).view(np.float32)


def _add(found: Counter[int], keys: np.ndarray) -> None:
    counts = np.bincount(keys, minlength=2**_HALF)
    there = np.flatnonzero(counts)
    found.update(dict(zip(there.tolist(), counts[there].tolist(), strict=True)))


def _at(counted: Counter[int], rank: int) -> tuple[int, int]:
    """Which of the counted numbers is at a rank from 0, and how many are less."""
    before = 0
    for number in sorted(counted):
        if rank < before + counted[number]:
            return number, before
        before += counted[number]
    raise ValueError(f"rank {rank} of {before}")
