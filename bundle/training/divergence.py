"""Ending a training whose numbers are no longer finite, before they reach a checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim import Optimizer

from bundle.model.checkpoints import not_finite


class DivergenceError(RuntimeError):
    """A loss, a gradient or a weight is infinite or NaN: no further step can repair the network."""


class StopDiverged:
    """Ignite handler for the trainer: ends training by an error at the first loss or gradient that is not finite.

    The check comes before the optimizer's step, so the weights of a CPU's training stay finite. A GPU is asked one
    step later, when it has the next one to compute, so that it never waits; the weights are checked at the end of
    every epoch as well. Attach it before the validation and before :class:`bundle.training.SaveRun`: then neither sees
    such a network, and the checkpoints of earlier epochs stay.

    Args:
        network: in training.
        optimizer: its learning rate is part of the message.

    Raises:
        DivergenceError: naming the step, the loss and the learning rate.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer) -> None:
        self.network = getattr(network, "module", network)  # of DistributedDataParallel
        self.optimizer = optimizer
        self._asked: tuple[int, torch.Tensor, torch.Tensor, torch.cuda.Event] | None = None

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._forget)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self.check_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.check_weights)

    def check_step(self, trainer: Engine) -> None:
        """The loss and the gradients of this step; on a GPU those of the step before."""
        output: Any = trainer.state.output
        loss = output["loss"].detach()
        gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        finite = torch.isfinite(loss) & torch.isfinite(torch.nn.utils.get_total_norm(gradients))
        step = trainer.state.iteration
        if loss.is_cuda:
            copies = loss.to("cpu", non_blocking=True), finite.to("cpu", non_blocking=True)
            before, self._asked = self._asked, (step, *copies, torch.cuda.current_stream(loss.device).record_event())
            if before is None:
                return
            step, loss, finite, copied = before
            copied.synchronize()  # until then a copy holds whatever was in its memory
        if not finite:
            raise self._error(step, float(loss))

    def check_weights(self, trainer: Engine) -> None:
        """The weights and running statistics at the end of an epoch."""
        output: Any = trainer.state.output
        name = not_finite(self.network.state_dict())
        if name is not None:
            raise self._error(
                trainer.state.iteration, float(output["loss"].detach()), f", {name} holds values that are not finite"
            )

    def _forget(self, trainer: Engine) -> None:
        self._asked = None

    def _error(self, step: int, loss: float, what: str = "") -> DivergenceError:
        rate = float(self.optimizer.param_groups[0]["lr"])
        return DivergenceError(
            f"training diverged at step {step} (loss {loss:g}, learning rate {rate:g}{what}): begin again with a lower "
            f"learning rate, such as --optimizer#lr {rate / 10:g}; checkpoints of earlier epochs stay"
        )
