"""The last step of a training: the cells of its best network."""

from __future__ import annotations

import os
from pathlib import Path

from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from torch import nn

from bundle.model import checkpoints
from bundle.model.card import read_card, write_card
from bundle.training.choose_cells import ChooseCells


class ChooseAtEnd:
    """Ignite handler for the trainer: when training completes, chooses how the cells of ``best.pt`` are read.

    The choice goes into the card. Attach it before what publishes and describes the network. A resumed run that was
    complete chooses the same again.

    Args:
        run_dir: folder of the run, with ``best.pt``.
        network: the network in training; it keeps its weights.
        evaluator: runs over the images to choose on, with ``choice`` among its handlers.
        choice: chooses.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str], network: nn.Module, evaluator: SupervisedEvaluator, choice: ChooseCells
    ) -> None:
        self.best = Path(run_dir) / "best.pt"
        self.network = network
        self.evaluator = evaluator
        self.choice = choice

    def attach(self, engine: Engine) -> None:
        if self.choice.auto and getattr(engine.state, "rank", 0) == 0:
            engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        if not self.best.is_file():
            return  # a trainer that saves nothing, as in benchmarks
        network = getattr(self.network, "module", self.network)
        newest = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        training = network.training
        try:
            checkpoints.load_weights(network, checkpoints.network_weights(checkpoints.read(self.best)), self.best)
            # the other processes are not here: nothing may wait for them, as the wrapper of several GPUs does
            self.evaluator.network = network
            self.evaluator.run()
            # before the network is published: nobody must get it with the cells of its beginning
            write_card(self.best.with_name("card.json"), {**read_card(self.best), **self.choice.in_card()})
        finally:
            network.load_state_dict(newest)
            network.train(training)
