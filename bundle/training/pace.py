"""What a training step and a validation take on this machine, measured on a copy of the network; what slows both."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import ignite.distributed as idist
import torch
from monai.data import list_data_collate
from monai.engines import SupervisedEvaluator
from torch import nn
from torch.optim import Optimizer

from bundle.training.batch import prepare_batch
from bundle.training.workers import cores

#: steps that are made before the clock runs (compiling, first allocations), and steps that are timed
WARM_UP, MEASURED = 5, 20
#: seconds after which no more steps are made for either, but for the least that are
_PATIENCE, _LEAST = 20.0, (1, 3)


class Pace(NamedTuple):
    """Seconds of a training step, of a validation of all its images (0: there is none), and of measuring both."""

    step: float
    validation: float = 0.0
    measuring: float = 0.0


def clock_of(device: torch.device, workers: int = 0) -> Callable[[], float]:
    """Seconds that count: CPU time where one thread does it all, so that other programs do not; else the clock's."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1 and not workers
    return time.process_time if alone else time.perf_counter


def busy() -> str:
    """What to do where other programs compute, too, and threads wait for one another; "" where they do not."""
    # threads that computed on this machine at a time, mean of the last minute; some systems do not say it
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if torch.cuda.is_available() or torch.get_num_threads() == 1 or load <= cores():
        return ""
    return (
        f"other programs compute here, too ({load:.1f} at a time, on {cores()} cores), and threads wait for one "
        "another: one thread is often faster; to use one, put OMP_NUM_THREADS=1 before the command"
    )


class MeasurePace:
    """Makes the first steps of a training, and one image's validation, and leaves everything as it was.

    Where steps are slow, fewer are made: a minute should do.

    The steps change a copy of network and optimizer, at a learning rate of 0; random numbers that they draw are given
    back. Several processes measure at once, and the slowest one counts.

    Args:
        network, optimizer, loss, inferer: of the training.
        loader: its batches.
        device: where it computes.
        validation: transformed items, each with "image"; those of the first one are timed, and the others count by
            their pixels. Empty or None: there is no validation.
        val_inferer, postprocessing: of the validation.
        metrics: of the validation, by name.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        loss: Callable[..., torch.Tensor],
        inferer: Callable[..., torch.Tensor],
        loader: Any,
        device: torch.device | str = "cpu",
        validation: Sequence[Mapping[str, Any]] | None = None,
        val_inferer: Any = None,
        postprocessing: Any = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        self.network, self.optimizer, self.loss, self.inferer = network, optimizer, loss, inferer
        self.loader = loader
        self.device = torch.device(device)
        self.validation = validation
        self.val_inferer, self.postprocessing, self.metrics = val_inferer, postprocessing, metrics

    def __call__(self) -> Pace:
        clock = clock_of(self.device, getattr(self.loader, "num_workers", 0))
        if idist.get_rank() == 0:
            print(f"measuring what a step takes here: at most {WARM_UP + MEASURED} of them", flush=True)
        begun = clock()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            network, optimizer = copy.deepcopy((getattr(self.network, "module", self.network), self.optimizer))
            step = self._step(network, optimizer, clock)
            validation = self._validation(network, clock)
        seconds = torch.tensor([step, validation, clock() - begun], dtype=torch.float64)
        if idist.get_world_size() > 1:
            seconds = idist.all_reduce(seconds, op="MAX")  # type: ignore[assignment]
        return Pace(*seconds.tolist())

    def _step(self, network: nn.Module, optimizer: Optimizer, clock: Callable[[], float]) -> float:
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        network.train()
        batches = chain.from_iterable(repeat(self.loader))

        def make(most: int, least: int) -> int:
            begun = time.monotonic()  # what a person waits, whatever the clock counts
            for number in range(1, most + 1):
                image, target = prepare_batch(next(batches), self.device)
                optimizer.zero_grad(set_to_none=True)
                self.loss(self.inferer(image, network), target).backward()
                optimizer.step()
                if number >= least and time.monotonic() - begun > _PATIENCE:
                    return number
            return most

        make(WARM_UP, _LEAST[0])
        start = self._now(clock)
        made = make(MEASURED, _LEAST[1])
        return (self._now(clock) - start) / made

    def _validation(self, network: nn.Module, clock: Callable[[], float]) -> float:
        if not self.validation:
            return 0.0
        sizes = [item["image"].numel() for item in self.validation]
        evaluator = SupervisedEvaluator(
            device=self.device,
            val_data_loader=[list_data_collate([self.validation[0]])],
            network=network,
            inferer=self.val_inferer,
            prepare_batch=prepare_batch,
            postprocessing=self.postprocessing,
            additional_metrics=dict(self.metrics or {}),
        )
        evaluator.run()  # plans the tiles, compiles
        start = self._now(clock)
        evaluator.run()
        return float((self._now(clock) - start) * sum(sizes) / sizes[0])

    def _now(self, clock: Callable[[], float]) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return clock()
