"""Training steps to be timed: those of configs/train.json's own trainer, one at a time, and bare loops beside it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from torch import nn

from benchmarks.timing import Options
from bundle.data.synthetic import make_dataset
from bundle.inference.precision import autocast
from bundle.training.batch import prepare_batch

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "train.json"

Step = Callable[[], torch.Tensor]


def parser_of(
    folder: Path, options: Options, tracked: bool = True, files: Sequence[str | Path] = (CONFIG,), **settings: Any
) -> ConfigParser:
    """The config of training on a small synthetic data set in ``folder``, without the validation.

    Args:
        folder: takes data set and run.
        options: seed and device.
        tracked: False leaves MLflow out.
        files: configs/train.json and overlays.
        settings: entries of the config to be replaced.
    """
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    left_out = {"ValidationHandler"} if tracked else {"ValidationHandler", "bundle.tracking.TrackTraining"}
    kept = [each for each in parser["train"]["handlers"] if isinstance(each, str) or each["_target_"] not in left_out]
    parser["train"]["handlers"] = kept  # those of an overlay may be references
    parser.update(
        {
            "device": torch.device(options.device),
            "seed": options.seed,
            "layout": "auto",
            "held_out": 0,
            "dataset_dir": make_dataset(folder / "data", count=4, seed=options.seed),
            "output_dir": str(folder / "runs"),
            "model_file": None,
            "tracker#artifacts": [],
            **settings,
        }
    )
    return parser


class ConfiguredTrainer:
    """The trainer of configs/train.json on one sample of its own data, again and again; a call is one step.

    The sample is made beforehand: what making it costs is another benchmark's. The run has one epoch without end.

    Args:
        folder, options, tracked, files, settings: see :func:`parser_of`.

    Attributes:
        network: in training.
        batch: (image, target) as the loss takes them.
    """

    def __init__(
        self,
        folder: Path,
        options: Options,
        tracked: bool = True,
        files: Sequence[str | Path] = (CONFIG,),
        **settings: Any,
    ) -> None:
        endless = {"max_epochs": 1, "samples_per_epoch": 100_000}
        parser = parser_of(folder, options, tracked, files, **{**settings, **endless})
        self.trainer = parser.get_parsed_content("train#trainer")
        self.network: nn.Module = parser.get_parsed_content("network")
        self.seed = options.seed
        sample = next(iter(parser.get_parsed_content("train#dataloader")))
        self.batch = prepare_batch(sample, options.device)
        self.trainer.data_loader = map(dict, itertools.repeat(sample))
        # dropout draws from a generator that the engine seeds when it starts: bare loops can start from the same
        self.trainer.add_event_handler(Events.ITERATION_STARTED(once=1), lambda: torch.manual_seed(self.seed))
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.trainer.interrupt)

    def __call__(self) -> torch.Tensor:
        """One step, with all that the engine and its handlers do between two batches; the loss."""
        self.trainer.run()
        return self.trainer.state.output["loss"].detach()

    def close(self) -> None:
        """End the run that was interrupted, and with it its record."""
        self.trainer.terminate()
        self.trainer.run()


def bare_loop(trainer: ConfiguredTrainer, precision: str, memory_format: torch.memory_format) -> Step:
    """The same step in a plain PyTorch loop, on a copy of the trainer's network: forward, loss, backward, AdamW."""
    network = copy.deepcopy(trainer.network).to(memory_format=memory_format).train()  # type: ignore[call-overload]
    given = trainer.trainer.optimizer.defaults
    optimizer = torch.optim.AdamW(network.parameters(), lr=given["lr"], weight_decay=given["weight_decay"])
    loss_function = trainer.trainer.loss_function
    image, target = trainer.batch

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with autocast(precision, image.device):
            logits = network(image)
        loss = loss_function(logits.float(), target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
