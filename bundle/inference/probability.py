"""From logits to the probability of one class, in little more memory than that."""

from __future__ import annotations

import torch

__all__ = ["class_probability"]

#: rows of the first spatial axis that are computed at a time
_ROWS = 256


def class_probability(logits: torch.Tensor, channel: int) -> torch.Tensor:
    """The softmax over all classes, of which one is kept.

    Args:
        logits: BNHW[D].
        channel: 0 .. N - 1.

    Returns:
        B1HW[D], the type of the logits, 0 .. 1.

    Raises:
        ValueError: for a channel that there is not.
    """
    if not 0 <= channel < logits.shape[1]:
        raise ValueError(f"probability_of must be a channel 0 .. {logits.shape[1] - 1} of the network, got {channel}")
    kept = logits.new_empty((logits.shape[0], 1, *logits.shape[2:]))
    for start in range(0, logits.shape[2], _ROWS):
        rows = slice(start, start + _ROWS)
        kept[:, 0, rows] = logits[:, :, rows].softmax(dim=1)[:, channel]
    return kept
