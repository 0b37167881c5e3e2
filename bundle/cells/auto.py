"""Cell options in a training, of which "auto" ones are chosen when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bundle.cells.options import CellOptions

AUTO = "auto"

#: what "auto" is until it is chosen
_START: dict[str, Any] = {"min_size": 20, "close_gaps": 1.0}
_CHOSEN = ("threshold", "low_threshold", "min_size", "close_gaps", "split_by", "split_distance")


@dataclass(frozen=True)
class AutoCellOptions(CellOptions):
    """Options of which those given as "auto" have a value to start with, and are chosen later.

    Args:
        start: values for "auto" ones until then; the others are threshold 0.5, min_size 20, close_gaps 1, and no split.

    Attributes:
        auto: names of the options that are to be chosen.

    Raises:
        ValueError: as :class:`bundle.cells.CellOptions`, and for "auto" where nothing is chosen.
    """

    start: Mapping[str, Any] | CellOptions | None = field(default=None, kw_only=True, repr=False, compare=False)
    auto: tuple[str, ...] = field(init=False, default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        begin = self.start.told if isinstance(self.start, CellOptions) else dict(self.start or {})
        defaults = {one.name: one.default for one in fields(CellOptions)} | _START | begin
        auto = tuple(name for name in defaults if getattr(self, name) == AUTO)
        for name in auto:
            if name not in _CHOSEN:
                raise ValueError(f"{name} cannot be {AUTO!r}: it is not chosen; give {defaults[name]!r}, for example")
            object.__setattr__(self, name, defaults[name])
        object.__setattr__(self, "auto", auto)
        # one that is given and one that starts may not fit together: the given one stands
        if "low_threshold" in auto and self.low_threshold is not None and isinstance(self.threshold, int | float):
            object.__setattr__(self, "low_threshold", min(self.low_threshold, self.threshold))
        super().__post_init__()

    def fixed(self) -> CellOptions:
        """The same without anything left to choose."""
        return CellOptions(**self.told)
