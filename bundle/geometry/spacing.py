"""What follows from the distances between pixels: where a network stays flat, which axes may be turned."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

#: spacings that differ by less count as equal
_EQUAL = 0.05


def flat_levels(spacing: Sequence[float], depth: int) -> list[int]:
    """For every axis, how many upper levels of a U-Net neither convolve nor pool along it.

    Those at which its spacing is more than twice the smallest of the others, as nnU-Net does it: elsewhere each pooling
    doubles the spacing, until all are alike. ``depth`` + 1 are all levels: the network then works slice by slice.

    Args:
        spacing: distance between pixels along each axis, in any unit.
        depth: number of poolings.

    Examples:
        >>> flat_levels((4, 4, 50), 4), flat_levels((1, 1, 3), 2), flat_levels((1, 1, 2), 2)
        ([0, 0, 3], [0, 0, 1], [0, 0, 0])
    """
    now, levels = list(spacing), [0] * len(spacing)
    for _ in range(depth + 1):
        others = [min(now[:axis] + now[axis + 1 :], default=now[axis]) for axis in range(len(now))]
        for axis, nearest in enumerate(others):
            if spacing[axis] > 2 * nearest:
                levels[axis] += 1
            else:
                now[axis] *= 2
    return levels


def isotropic_plane(spacing: Sequence[float]) -> tuple[int, int] | None:
    """The first two axes of equal spacing (to 5 %), within which an image may be turned; None where there are none.

    Examples:
        >>> isotropic_plane((0.5, 0.5, 2)), isotropic_plane((2, 0.5, 0.5)), isotropic_plane((1, 2, 4))
        ((0, 1), (1, 2), None)
    """
    return next(iter(isotropic_planes(spacing)), None)


def isotropic_planes(spacing: Sequence[float]) -> list[tuple[int, int]]:
    """All pairs of axes of equal spacing (to 5 %)."""
    pairs = combinations(range(len(spacing)), 2)
    return [(a, b) for a, b in pairs if abs(spacing[a] - spacing[b]) <= _EQUAL * min(spacing[a], spacing[b])]


def relative_spacing(spacing: Sequence[float]) -> list[float]:
    """Spacing in px of the finest axis.

    Examples:
        >>> relative_spacing((0.2, 0.2, 0.5))
        [1.0, 1.0, 2.5]
    """
    return [each / min(spacing) for each in spacing]
