"""Images that are turned by quarters and mirrored: which place goes where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Turn:
    """A mirroring along the first of two axes, or none, then quarter turns from the first to the second axis.

    Attributes:
        quarters: 0 .. 3.
        mirrored: whether it is mirrored before.
        plane: the two spatial axes.

    Examples:
        >>> Turn(1).there(((0, 2), (0, 5)), (10, 20)), Turn(1).size((10, 20))
        (((15, 20), (0, 2)), (20, 10))
    """

    quarters: int = 0
    mirrored: bool = False
    plane: tuple[int, int] = (0, 1)

    def size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Of an image of ``size`` px when it is turned."""
        found = list(size)
        if self.quarters % 2:
            one, other = self.plane
            found[one], found[other] = found[other], found[one]
        return tuple(found)

    def there(self, spans: Spans, size: Sequence[int]) -> Spans:
        """Where a region, (start, stop) along every axis, of an image of ``size`` px is in the turned one."""
        found = self._mirror(spans, size) if self.mirrored else spans
        return self._quarters(found, tuple(size), self.quarters)

    def back(self, spans: Spans, size: Sequence[int]) -> Spans:
        """Where a region of the turned image was in that of ``size`` px."""
        found = self._quarters(spans, self.size(size), -self.quarters % 4)
        return self._mirror(found, size) if self.mirrored else found

    def _mirror(self, spans: Spans, size: Sequence[int]) -> Spans:
        found = list(spans)
        axis = self.plane[0]
        start, stop = spans[axis]
        found[axis] = size[axis] - stop, size[axis] - start
        return tuple(found)

    def _quarters(self, spans: Spans, size: tuple[int, ...], quarters: int) -> Spans:
        one, other = self.plane
        for _ in range(quarters):
            found = list(spans)
            start, stop = spans[other]
            found[one], found[other] = (size[other] - stop, size[other] - start), spans[one]
            spans, size = tuple(found), Turn(1, plane=self.plane).size(size)
        return spans
