"""Batch normalisation that is trained as it is used."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class FreezeBatchNorm:
    """For the last part of a training, batch normalisation uses its running statistics in training, too.

    With one tile a step a network learns to rely on the statistics of that very tile. At inference, where a tile must
    not depend on its content, it gets the running ones, and what it then computes is not what was trained. So it
    learns with these while the learning rate falls. Where the rate is still too high for a network without
    normalisation the loss explodes, so watch it (docs/results/recipes.md has an example of each).

    Before, a step has a weight of ``momentum`` in the running statistics, or of 1 / steps while that is more, so that
    a short training has a mean of its tiles and nothing of the initial values.

    Args:
        network: its batch normalisation layers; one without any is left as it is.
        start: share of all steps after which the statistics stand still, 0 .. 1; 1 never.
        momentum: in (0, 1]. torch's own 0.1 knows the last ten tiles.

    Raises:
        ValueError: for a share or a momentum outside its range.
    """

    def __init__(self, network: nn.Module, start: float = 0.5, momentum: float = 0.01) -> None:
        if not 0 <= start <= 1:
            raise ValueError(f"start must be within 0 .. 1 ({min(max(start, 0), 1)} is the nearest), got {start}")
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be above 0 and at most 1 (0.01 is usual here), got {momentum}")
        self.network = network
        self.start = start
        self.momentum = momentum
        self.layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        last = self.start * state.max_epochs * state.epoch_length

        def prepare(network: nn.Module, inputs: Any) -> None:
            if not network.training:
                return
            step = state.iteration
            for layer in self.layers:
                layer.momentum = max(self.momentum, 1 / max(step, 1))
                layer.train(step <= last)

        # MONAI's trainer calls network.train() after the last event before the forward pass
        hook = self.network.register_forward_pre_hook(prepare)
        engine.add_event_handler(Events.COMPLETED, lambda: hook.remove())
