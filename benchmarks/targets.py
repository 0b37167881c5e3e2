"""What the measured numbers are held against, gathered from all tables into one."""

from __future__ import annotations

from dataclasses import dataclass

#: what :attr:`Target.cells` fills
TARGET_COLUMNS = ("part", "against", "measured", "target", "met")


@dataclass(frozen=True)
class Target:
    """One number and its bound. Ratios, not times: they carry over to other machines, if not exactly.

    Attributes:
        part: of ours.
        peer: what it is compared with.
        measured: the ratio.
        bound: what it should be.
        least: whether the bound is the least allowed value or the largest.
        percent: show both as a share.
    """

    part: str
    peer: str
    measured: float
    bound: float
    least: bool
    percent: bool

    @property
    def met(self) -> bool:
        return self.measured >= self.bound if self.least else self.measured <= self.bound

    @property
    def cells(self) -> list[str]:
        """A row of the summary."""
        sign = ">=" if self.least else "<="
        bound = f"{100 * self.bound:g} %" if self.percent else f"{self.bound:g}x"
        return [self.part, self.peer, self._measured(), f"{sign} {bound}", "yes" if self.met else "no"]

    def _measured(self) -> str:
        if self.percent:
            return f"{100 * self.measured:.1f} %"
        return f"{self.measured:.0f}x" if self.measured >= 100 else f"{self.measured:.3g}x"


def at_least(part: str, peer: str, measured: float, bound: float, percent: bool = False) -> Target:
    """The peer's time over ours, say, should be at least ``bound``."""
    return Target(part, peer, measured, bound, True, percent)


def at_most(part: str, peer: str, measured: float, bound: float, percent: bool = False) -> Target:
    """Our time over the peer's, say, should be at most ``bound``."""
    return Target(part, peer, measured, bound, False, percent)
