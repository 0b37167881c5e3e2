"""Auxiliary classifiers: losses inside a network that help its training."""

from __future__ import annotations

import math

import torch
from ignite.engine import Engine, Events
from torch import nn


class AuxiliaryLoss(nn.Module):
    """The loss of the logits, with the gradient of a sum: of this loss and that of each auxiliary classifier.

    The sum is ::

        loss(logits) + weight * 0.5 ^ (steps done / half_life) * sum of loss(auxiliary logits)

    The value is that of the logits alone, which compares with the loss of a validation. The steps done are the
    trainer's iterations, which every checkpoint holds: with a ``half_life`` it is a handler of the trainer, too,
    nothing else has to be saved, and a resumed run continues with the same weight.

    Chen et al. (AAAI 2016) let the weights of the auxiliary classifiers shrink while training proceeds; the schedule
    is ours.

    Args:
        loss: of one map of logits and the target.
        weight: of each auxiliary classifier at the first step, at least 0.
        half_life: steps after which half of it is left, above 0. None: it stays.

    Shape:
        input: BKNHW[D] logits of N classes: first the network's, then those of K - 1 auxiliary classifiers, stacked
            as MONAI's DynUNet stacks its deep supervision. Or BNHW[D] with no auxiliary classifier.
        target: B1HW[D] or B2HW[D], as ``loss`` takes it.

    Raises:
        ValueError: for arguments outside what is allowed.

    Examples:
        >>> from bundle.training.loss import PixelWeightedCrossEntropy
        >>> loss = AuxiliaryLoss(PixelWeightedCrossEntropy(), weight=0.5, half_life=100)
        >>> round(loss(torch.zeros(1, 4, 2, 8, 8), torch.ones(1, 1, 8, 8)).item(), 4)  # log 2
        0.6931
    """

    def __init__(self, loss: nn.Module, weight: float = 1.0, half_life: float | None = None) -> None:
        super().__init__()
        if not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            raise ValueError(f"weight must be a number of at least 0 (0 is the nearest), got {weight!r}")
        if half_life is not None and not half_life > 0:
            raise ValueError(f"half_life must be above 0 steps, got {half_life!r}")
        self.loss = loss
        self.weight = weight
        self.half_life = half_life
        self.steps_done = 0

    @property
    def present_weight(self) -> float:
        """Of each auxiliary classifier in this step."""
        return float(self.weight * (0.5 ** (self.steps_done / self.half_life) if self.half_life else 1))

    def attach(self, engine: Engine) -> None:
        """Let the trainer's iterations count as the steps."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._count)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        maps = [input] if input.dim() == target.dim() else list(input.unbind(dim=1))
        loss: torch.Tensor = self.loss(maps[0], target)
        for auxiliary in maps[1:]:
            more = self.present_weight * self.loss(auxiliary, target)
            loss = loss + (more - more.detach())  # its gradient alone; what is not finite stays so
        return loss

    def _count(self, engine: Engine) -> None:
        self.steps_done = engine.state.iteration - 1
