"""Learning rate over a training run."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """The optimizer's learning rate after a linear warm-up, then falling to 0 along half a cosine.

    With SGD's momentum of 0.99 the gradients of some hundred steps add up: without a warm-up the first ones, which all
    point the same way, throw the weights off. The paper gives no schedule.

    The length is not part of the state, so that a run which is resumed with more epochs takes the longer schedule.

    Args:
        optimizer: its learning rate is the highest.
        total_steps: of the training, at least 1; beyond them the rate stays 0.
        warmup: share of them in [0, 1) over which the rate rises.

    Raises:
        ValueError: for arguments outside what is allowed.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.1) -> None:
        if total_steps < 1:
            raise ValueError(f"total_steps must be at least 1, got {total_steps!r}: max_epochs must be at least 1")
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must lie in [0, 1), got {warmup!r}")
        rising = round(warmup * total_steps)

        def factor(step: int) -> float:
            if step < rising:
                return (step + 1) / (rising + 1)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / (total_steps - rising))))

        super().__init__(optimizer, factor)
