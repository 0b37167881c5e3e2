"""One seed for a whole run: every epoch starts from a random state that the seed and its number fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events


class SeedEpoch:
    """Fixes the random state at the start of every epoch, so that a resumed run continues exactly.

    Dropout draws from torch's own generator, the samples from ``dataset`` (which learns the epoch's number).

    Args:
        seed: of the run, at least 0.
        dataset: has ``set_epoch(number)``, see :class:`bundle.data.dataset.TileDataset`; None for none.
    """

    def __init__(self, seed: int, dataset: Any = None) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
        self.seed = seed
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        torch.manual_seed(hash((self.seed, epoch, getattr(engine.state, "rank", 0))) % 2**63)
        if self.dataset is not None:
            self.dataset.set_epoch(epoch)


def random_states(device: torch.device | None) -> dict[str, torch.Tensor]:
    """torch's generators in the middle of an epoch, a row a process; all processes must ask for them together."""
    states = {"cpu": torch.get_rng_state()}
    if device is not None and device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return {name: torch.as_tensor(idist.all_gather(state[None])).cpu() for name, state in states.items()}


def set_random_states(states: Mapping[str, torch.Tensor], device: torch.device | None) -> None:
    """Put this process's generators back as :func:`random_states` found them."""
    own = {name: rows[idist.get_rank()].clone() for name, rows in states.items()}  # a view crashes torch
    torch.set_rng_state(own["cpu"])
    if "cuda" in own and device is not None and device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda"], device)
