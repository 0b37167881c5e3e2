"""Where a mirrored pixel comes from."""

from __future__ import annotations


def mirror_indices(start: int, stop: int, n: int) -> list[int]:
    """Positions in an axis of ``n`` px for the range ``start`` .. ``stop``, mirrored at both ends.

    The edge is not repeated (numpy's "reflect"): ... 2 1 | 0 1 2 ... n-1 | n-2 ... The range may reach further
    than the axis is long: it is mirrored again and again. An axis of a single pixel repeats it.

    Examples:
        >>> mirror_indices(-3, 6, 3)
        [1, 2, 1, 0, 1, 2, 1, 0, 1]
    """
    if n < 1:
        raise ValueError(f"cannot mirror an axis of {n} px: it must have at least 1")
    period = max(1, 2 * (n - 1))
    return [min(i % period, period - i % period) for i in range(start, stop)]
