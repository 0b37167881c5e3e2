"""A trained network for an evaluator, or for a trainer to begin with."""

from __future__ import annotations

import logging

import torch
from ignite.engine import Engine, Events
from torch import nn

from bundle.model import TrainedNetwork

__all__ = ["LoadNetwork"]

logger = logging.getLogger(__name__)


class LoadNetwork:
    """Loads a model file into the network before an engine starts; clear errors for one that does not fit.

    Args:
        trained: a model file or a training checkpoint.
        network: of the same architecture.
    """

    def __init__(self, trained: TrainedNetwork, network: nn.Module) -> None:
        self.trained = trained
        self.network = getattr(network, "module", network)  # of DistributedDataParallel

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        with torch.no_grad():
            self.trained.load(self.network)
        logger.info("loaded %s (%s)", self.trained, self.trained.origin())
