"""From logits to probabilities, of one class in little more memory than that."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import TransformBackends, ensure_tuple_rep

__all__ = ["ALL", "ForegroundProbabilityd", "class_probability"]

#: instead of a channel: all of them
ALL = "all"

#: rows of the first spatial axis that are computed at a time
_ROWS = 256


def class_probability(logits: torch.Tensor, channel: int | str) -> torch.Tensor:
    """The softmax over all classes, of which one is kept.

    Args:
        logits: BNHW[D].
        channel: 0 .. N - 1; :data:`ALL` keeps all classes.

    Returns:
        B1HW[D], or BNHW[D] of all classes; the type of the logits, 0 .. 1.

    Raises:
        ValueError: for a channel that there is not.
    """
    if channel == ALL:
        return logits.softmax(dim=1)
    if isinstance(channel, str) or not 0 <= channel < logits.shape[1]:
        raise ValueError(
            f"probability_of must be a channel 0 .. {logits.shape[1] - 1} of the network or {ALL!r}, got {channel!r}"
        )
    kept = logits.new_empty((logits.shape[0], 1, *logits.shape[2:]))
    for start in range(0, logits.shape[2], _ROWS):
        rows = slice(start, start + _ROWS)
        kept[:, 0, rows] = logits[:, :, rows].softmax(dim=1)[:, channel]
    return kept


class ForegroundProbabilityd(MapTransform):
    """The probability of any class but the background's, 1HW[D], from those of all classes, NHW[D].

    Args:
        keys: of the probabilities.
        output_keys: where the foreground's go.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(self, keys: KeysCollection, output_keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            others = d[key][1:]
            d[output_key] = others.clone() if len(others) == 1 else others.sum(0, keepdim=True).clamp(0, 1)
        return d
