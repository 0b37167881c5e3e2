"""Mean and standard deviation of gray values without rounding on the way, so that no order of adding matters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

#: px at a time: sums of 2^20 squares of 16 bit numbers, and of 2^20 products of 12 bit halves, are exact in float64
_CHUNK = 2**20
#: every fp32 number is a multiple of 2^-149
_SCALE = 149


@dataclass(frozen=True)
class Moments:
    """Number, sum, sum of squares, least and greatest of fp32 numbers; exact, and added part by part in any order.

    Whole numbers of 16 bits are added as they are. Of others the 24 bits of a number and of its square are added
    apart for each power of two, as whole numbers.

    Attributes:
        count: of numbers.
        total: their sum, in units of 2^-149.
        squares: sum of their squares, in units of 2^-298.
        low, high: least and greatest.

    Examples:
        >>> one = Moments.of(np.array([1e30, 0.25, -1e30], np.float32)) + Moments.of(np.array([0.25], np.float32))
        >>> one.mean, Moments.of(np.array([1, 3])).deviation
        (0.125, 1.0)
    """

    count: int = 0
    total: int = 0
    squares: int = 0
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, numbers: np.ndarray) -> Moments:
        """Those of an array of any shape, as fp32 holds its numbers; NaN or infinity make mean and deviation NaN."""
        flat = np.ravel(numbers)
        return sum((_of_few(flat[start : start + _CHUNK]) for start in range(0, flat.size, _CHUNK)), cls())

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            _least(self.low, other.low),
            -_least(-self.high, -other.high),
        )

    @property
    def mean(self) -> float:
        """The fp32 number next to the mean."""
        exact = Fraction(self.total, self.count << _SCALE) if self._known else math.nan
        return float(np.float32(float(exact)))

    @property
    def deviation(self) -> float:
        """The fp32 number next to the standard deviation, its divisor ``count``; 0 where all numbers are equal."""
        spread = self.count * self.squares - self.total**2 if self._known else 0
        exact = math.sqrt(Fraction(spread, self.count**2 << 2 * _SCALE)) if self._known else math.nan
        return float(np.float32(exact))

    @property
    def _known(self) -> bool:
        return self.count > 0 and math.isfinite(self.low) and math.isfinite(self.high)


def _least(a: float, b: float) -> float:
    return a if a <= b or math.isnan(a) else b


def _of_few(numbers: np.ndarray) -> Moments:
    x = numbers.astype(np.float32, copy=False)
    low, high = float(x.min()), float(x.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return Moments(x.size, low=low, high=high)
    if max(-low, high) <= 2**16 and bool((np.rint(x) == x).all()):
        wide = x.astype(np.float64)
        total, squares = int(wide.sum()) << _SCALE, int(wide @ wide) << 2 * _SCALE
        return Moments(x.size, total, squares, low, high)
    # x = whole * 2^(power - 24), whole = upper * 2^12 + lower
    fraction, power = np.frexp(x)
    whole = fraction.astype(np.float64) * 2**24
    upper = np.trunc(whole / 2**12)
    lower = whole - upper * 2**12
    first = int(power.min())
    place = power - first
    sums = [np.bincount(place, weights=each) for each in (whole, upper * upper, upper * lower, lower * lower)]
    total = squares = 0
    for at, (one, uu, ul, ll) in enumerate(zip(*sums, strict=True)):
        shift = _SCALE + first + at - 24
        total += _shifted(int(one), shift)
        squares += _shifted((int(uu) << 24) + (int(ul) << 13) + int(ll), 2 * shift)
    return Moments(x.size, total, squares, low, high)


def _shifted(number: int, by: int) -> int:
    """``number`` times 2^``by``; what goes out to the right are zeros, since the unit divides every number."""
    return number << by if by >= 0 else number >> -by
