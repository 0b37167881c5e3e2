"""A trained network for an evaluator, or for a trainer to begin with."""

from __future__ import annotations

import logging
import os

import torch
from ignite.engine import Engine, Events
from torch import nn

from bundle.model import checkpoints
from bundle.model.card import origin

__all__ = ["LoadNetwork"]

logger = logging.getLogger(__name__)


class LoadNetwork:
    """Loads a model file into the network before an engine starts; clear errors for one that does not fit.

    Args:
        path: a model file or a training checkpoint.
        network: as the checkpoint's, see :func:`bundle.model.checkpoints.unet_arguments`.
    """

    def __init__(self, path: str | os.PathLike[str], network: nn.Module) -> None:
        self.path = path
        self.network = getattr(network, "module", network)  # of DistributedDataParallel

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        with torch.no_grad():
            checkpoints.load_network(self.network, self.path)
        logger.info("loaded %s (%s)", self.path, origin(self.path))
