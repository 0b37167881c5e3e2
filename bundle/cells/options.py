"""How cells are read off a map of probabilities: ten options, named and checked here only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

from bundle.console import did_you_mean

_SPLIT_BY = (None, "distance", "probability")


@dataclass(frozen=True)
class CellOptions:
    """Options of :func:`bundle.cells.probability_to_instances`.

    Args:
        threshold: a pixel is cell where the probability is greater; at least 0 and below 1.
        min_size: cells of fewer px (voxels in 3D) are removed; 0 keeps all.
        fill_holes: fill background that one cell alone encloses. A gap that several cells enclose, or that
            reaches the edge of the image, stays.
        close_gaps: px. Gaps between two cells that are at most twice as wide are closed, each px going to the
            nearer cell: this undoes the ridge that the separation of touching cells cut before training (1 px: 1).
            Outer borders stay where they are, and cells never merge.
        split_by: how cells that touch are split by a watershed: None leaves them whole; "distance" seeds at the
            maxima of the distance to the background, for round cells; "probability" at the maxima of the
            smoothed probability, for cells with a faint border in between.
        split_distance: px, at least 1; seeds are at least that far apart: about the radius of the smallest cell.
            With ``spacing`` in units of the finest axis.
        low_threshold: a second threshold, not above the first. Cells are found at ``threshold``, where the gaps
            between them are wide, and then extended down to ``low_threshold``: a px above it goes to the cell from
            which a flooding down the probability reaches it; one that is connected to no cell is background. None:
            no extension. A border weight in training makes gaps wide and cells small; this undoes it.
        connectivity: 1 (edges: 4 neighbours, 6 in 3D) up to the number of axes of one image (corners too).
        spatial_dims: axes of one image: 2 takes HWD as a stack and labels each slice along the last axis alone, as a
            2D network saw it, with sizes in px of a slice; None and 3 take HWD as one volume.
        spacing: distance between pixels along each axis of one image, in any unit: what ``split_by`` measures is
            counted so. None: alike along all axes.

    Raises:
        ValueError: for an option out of its range.
    """

    threshold: float = 0.5
    min_size: int = 0
    fill_holes: bool = True
    close_gaps: float = 0.0
    split_by: str | None = None
    split_distance: float = 10.0
    low_threshold: float | None = None
    connectivity: int = 1
    spatial_dims: int | None = None
    spacing: Sequence[float] | None = None

    def __post_init__(self) -> None:
        threshold, low = self.threshold, self.low_threshold
        for name in ("threshold", "low_threshold", "min_size", "close_gaps", "split_distance"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real | None if name == "low_threshold" else Real):
                raise ValueError(f"{name} must be a number, got {value!r}")
        if not isinstance(self.fill_holes, bool):  # "false" would count as true
            raise ValueError(f"fill_holes must be true or false, got {self.fill_holes!r}")
        if not 0 <= threshold < 1:
            nearest = 0 if threshold < 0 else 0.99
            raise ValueError(f"threshold must be at least 0 and below 1 ({nearest} is near), got {threshold}")
        if low is not None and not 0 <= low <= threshold:
            nearest = 0 if low < 0 else threshold
            raise ValueError(f"low_threshold must be None or 0 .. threshold {threshold} ({nearest} is near), got {low}")
        for name, least in (("min_size", 0), ("close_gaps", 0), ("split_distance", 1)):
            if not (value := getattr(self, name)) >= least:
                raise ValueError(f"{name} must be at least {least} px ({least} is the nearest), got {value}")
        if self.split_by not in _SPLIT_BY:
            raise ValueError(f'split_by must be None, "distance" or "probability", got {self.split_by!r}')
        if self.connectivity not in (1, 2, 3):
            raise ValueError(f"connectivity must be 1 up to the number of axes (1 is usual), got {self.connectivity}")
        if self.spatial_dims not in (None, 2, 3):
            raise ValueError(
                f"spatial_dims must be None, 2 or 3 (2 for slices, 3 for volumes), got {self.spatial_dims}"
            )
        if self.spacing is not None:
            object.__setattr__(self, "spacing", _numbers(self.spacing))
        if self.spatial_dims is not None:
            self.require_axes(self.spatial_dims)

    def require_axes(self, axes: int) -> None:
        """Check that images of so many axes can be labelled.

        Raises:
            ValueError: for a larger ``connectivity``, or a ``spacing`` along another number of axes.
        """
        if self.connectivity > axes:
            raise ValueError(
                f"connectivity must be 1 .. {axes} for images of {axes} axes ({axes} is the nearest), got "
                f"{self.connectivity}"
            )
        if self.spacing is not None and len(self.spacing) != axes:
            raise ValueError(
                f"spacing must have {axes} numbers, one for each axis of an image, got {list(self.spacing)}"
            )

    @property
    def foreground(self) -> float:
        """The probability above which a pixel may be a cell's: ``low_threshold`` where there is one."""
        return self.threshold if self.low_threshold is None else self.low_threshold

    @property
    def told(self) -> dict[str, Any]:
        """Every option by name, but ``spacing`` only where there is one."""
        values = {one.name: getattr(self, one.name) for one in fields(CellOptions)}
        return {name: value for name, value in values.items() if name != "spacing" or value is not None}

    def words(self) -> str:
        """The threshold, and the other options that are not the defaults, as ``threshold 0.5, min_size 34``."""
        always = ("threshold",) if self.split_by is None else ("threshold", "split_distance")
        return ", ".join(
            f"{name} {_short(value)}"
            for name, value in self.told.items()
            if name in always or value != getattr(_DEFAULTS, name)
            if name != "spatial_dims"  # the image's, not a choice
        )

    @classmethod
    def of(cls, options: CellOptions | None = None, **changes: Any) -> CellOptions:
        """These options with some of them changed; None begins with the defaults.

        Raises:
            ValueError: for an option out of its range, or one that there is not, with the nearest.
        """
        known = [field.name for field in fields(cls)]
        for name in changes:
            if name not in known:
                raise ValueError(f"unknown option cells#{name}: {did_you_mean(name, known, 'cells#')}")
        return replace(cls() if options is None else options, **changes)

    def at(self, threshold: float, **changes: Any) -> CellOptions:
        """These options at another threshold; a ``low_threshold`` that would lie above it comes down to it."""
        low = None if self.low_threshold is None else min(self.low_threshold, threshold)
        return CellOptions.of(self, threshold=threshold, low_threshold=low, **changes)


_DEFAULTS = CellOptions()


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_short, value))
    return f"{value:g}" if type(value) is float else str(value)


def _numbers(spacing: Sequence[float]) -> tuple[float, ...]:
    numbers = tuple(spacing) if isinstance(spacing, list | tuple) else ()
    if len(numbers) not in (2, 3) or not all(type(each) in (int, float) and each > 0 for each in numbers):
        raise ValueError(f"spacing must be null or a number above 0 for each axis, as [1, 1, 3], got {spacing!r}")
    return numbers
