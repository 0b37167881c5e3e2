"""A trained network for an evaluator, or for a trainer to begin with."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events
from torch import nn

from bundle.data.channels import Channels
from bundle.model.card import robust_gray
from bundle.model.trained_network import TrainedNetwork

logger = logging.getLogger(__name__)


class LoadNetwork:
    """Loads a model file into the network before an engine starts; clear errors for one that does not fit.

    Args:
        trained: a model file or a training checkpoint.
        network: of the same architecture.
        channels: of the images that it will be trained on; they must be those that it knows.
        robust: of the standardisation that it will be trained with.
    """

    def __init__(
        self,
        trained: TrainedNetwork,
        network: nn.Module,
        channels: Channels | None = None,
        robust: bool | None = None,
    ) -> None:
        self.trained = trained
        self.channels = channels
        self.robust = robust
        self.network = getattr(network, "module", network)  # of DistributedDataParallel

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """
        Raises:
            ValueError: for another number of channels, or other names or another order of them.
        """
        if self.channels is not None:
            self.trained.channels().require_same(self.channels)
        if self.robust is not None and self.robust != robust_gray(self.trained.card):
            logger.warning(
                "%s was trained with standardize#robust %s, this training has %s: at first it will see other gray "
                "values than it knows", self.trained, not self.robust, self.robust,
            )  # fmt: skip
        self.trained.load(self.network)
        logger.info("loaded %s (%s)", self.trained, self.trained.origin())
