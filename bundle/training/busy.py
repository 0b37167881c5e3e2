"""Other programs on the same processor: threads that share a step then wait for one another."""

from __future__ import annotations

import os

import torch

from bundle.training.workers import cores

__all__ = ["busy"]


def busy() -> str:
    """What to do where other programs compute, too, and threads wait for one another; "" where they do not."""
    alone = torch.cuda.is_available() or torch.get_num_threads() == 1
    if alone or (load := _load()) <= cores():
        return ""
    return (
        f"other programs compute here, too ({load:.1f} at a time, on {cores()} cores), and threads wait for one "
        "another: one thread is often faster; to use one, put OMP_NUM_THREADS=1 before the command"
    )


def _load() -> float:
    """How many threads computed on this machine at a time, mean of the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
