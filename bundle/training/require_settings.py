"""The numbers among a training's options: one out of range is refused by its name, before anything is read or made."""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

from monai.bundle import ConfigParser

from bundle.console import command_line
from bundle.tracking.config import flat_config, resolved

logger = logging.getLogger(__name__)


class _Range(NamedTuple):
    """Allowed are finite numbers of ``least`` to ``most``, with ``open`` without these two."""

    least: float = 0
    most: float = math.inf
    whole: bool = True
    open: bool = False
    unit: str = ""
    #: what to give instead, where it is not the nearest allowed value
    hint: str = ""

    def allows(self, value: Any) -> bool:
        if not _is_number(value) or (self.whole and not isinstance(value, int)):
            return False
        inside = self.least < value < self.most if self.open else self.least <= value <= self.most
        return inside and math.isfinite(value)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.most == math.inf:
            return f"{kind} {'above' if self.open else 'of at least'} {self.least}{self.unit}"
        return f"{kind} {'between' if self.open else 'from'} {self.least} {'and' if self.open else 'to'} {self.most}"

    def nearest(self, value: Any) -> str:
        if self.hint:
            return self.hint
        near = min(max(value, self.least), self.most) if _is_number(value) else self.least
        near = near if math.isfinite(near) else self.least
        sides = {math.floor(near), math.ceil(near)} if self.whole else {near}
        return f"{' and '.join(f'{side}' for side in sorted(sides))} {'is' if len(sides) == 1 else 'are'} the nearest"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_SEED = _Range(0, 2**32 - 1)
_COUNT = _Range(1)
_SHARE = _Range(0, 1, whole=False)

#: entry of the config -> what it may be; one that the config lacks, or that holds null, is left to what uses it
_ALLOWED = {
    "seed": _SEED,
    "split_seed": _SEED,
    "minutes": _Range(whole=False, open=True, hint="20, say, or null to train for --max_epochs"),
    "max_epochs": _Range(1, unit=" (epochs)"),
    "samples_per_epoch": _Range(1, unit=" (steps)"),
    "val_interval": _Range(1, unit=" (epochs)"),
    "patience": _Range(0, unit=" (0: never stop early)"),
    "base_channels": _COUNT,
    "depth": _COUNT,
    "optimizer#lr": _Range(whole=False, open=True, hint="0.001 is the default"),
    "optimizer#weight_decay": _Range(whole=False),
    "freeze_norm_after": _SHARE,
    "elastic#sigma": _Range(whole=False, unit=" px (0: no deformation)"),
    "separate_touching#width": _Range(unit=" px (0: none)"),
    "weight_map#w0": _Range(whole=False, unit=" (0: no border weight)"),
    "weight_map#sigma": _Range(whole=False, open=True, unit=" px", hint="5, as in the paper, is the default"),
    "workers": _Range(0, unit=" (0: no worker processes)"),
    "train#dataloader#batch_size": _COUNT,
    "train#dataloader#num_workers": _Range(0, unit=" (0: no worker processes)"),
    "validate#dataloader#batch_size": _COUNT,
    "validate#dataloader#num_workers": _Range(0, unit=" (0: no worker processes)"),
}
#: entries that --minutes takes the place of, or that may go by the epochs of the config
_TOLD_BY_LENGTH = ("length.max_epochs", "val_interval")
#: what only validation images can decide
_OF_VALIDATION = ("best_by", "patience")
#: a count of images, a share of them below 1, or their names
_SELECTIONS = ("held_out", "validation")


def require_settings(parser: ConfigParser | None) -> None:
    """Check the numbers of a training.

    Args:
        parser: the config; without one there is nothing to check. Only the entries checked are resolved.

    Raises:
        ValueError: naming the entry, its value, what is allowed, and the nearest allowed or the usual value.
    """
    if parser is None:
        return
    for name, allowed in _ALLOWED.items():
        value = resolved(parser, name)
        if value is not None and not allowed.allows(value):
            raise ValueError(f"--{name} must be {allowed}, got {value!r}: {allowed.nearest(value)}")
    for name in _SELECTIONS:
        value = resolved(parser, name)
        if isinstance(value, str | bool) or (_is_number(value) and not _selects(value)):
            finite = _is_number(value) and 1 < value < math.inf
            hint = f"{math.ceil(value)} is the nearest" if finite else "0 is for none"
            raise ValueError(
                f"--{name} must be a number of images (0, 1, ...), a share of them below 1, or a list of their names, "
                f"got {value!r}: {hint}"
            )

    if resolved(parser, "minutes") is not None:
        _require_one_length(parser)
    idle = [f"--{name}" for name in _OF_VALIDATION if name in command_line()]
    if idle and resolved(parser, "validation") == 0:
        logger.warning(
            "%s: without effect, since no image validates; --validation 0.2 lets a fifth do it", " and ".join(idle)
        )


def _require_one_length(parser: ConfigParser) -> None:
    if "max_epochs" in command_line():
        raise ValueError("--minutes and --max_epochs both say how long to train: give one of them")
    bound = [name for name, text in flat_config(parser) if "@max_epochs" in text and name not in _TOLD_BY_LENGTH]
    if bound:
        raise ValueError(f"--minutes cannot be used with {bound[0]}, which counts by max_epochs: give --max_epochs")


def _selects(value: float) -> bool:
    return value >= 0 and (isinstance(value, int) or value < 1)
