"""How many processes make samples beside the one that trains."""

from __future__ import annotations

import os

import torch

#: more would make samples faster than the fastest GPU takes them
_MOST = 8


def workers_for(device: torch.device | str) -> int:
    """One for each core but one, no more than 8, where a GPU trains; 0 where the cores train.

    Samples are the same for any number, see :class:`bundle.data.dataset.TileDataset`. On a GPU these processes live
    through all epochs. On a CPU each epoch starts new ones: a loader then draws from torch's generator as one without
    them does, and dropout on a CPU depends on what is drawn.
    """
    if torch.device(device).type != "cuda":
        return 0
    return min(_MOST, max(1, cores() - 1))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
