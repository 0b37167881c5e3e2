"""How many processes make samples beside the one that trains."""

from __future__ import annotations

import os

import torch

__all__ = ["workers_for"]

#: more would make samples faster than the fastest GPU takes them
_MOST = 8


def workers_for(device: torch.device | str) -> int:
    """One for each core but one, no more than 8, where a GPU trains; 0 where the cores train.

    Samples are the same for any number, see :class:`bundle.data.dataset.TileDataset`. On a GPU they live through all
    epochs; on a CPU each epoch has new ones, which draw from torch's generator what a loader without them draws: dropout
    there depends on it.
    """
    if torch.device(device).type != "cuda":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST, max(1, cores - 1))
