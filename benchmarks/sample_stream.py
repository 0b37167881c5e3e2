"""How long a trainer that takes a step in a fixed time waits for its samples, by the number of worker processes.

No GPU is needed: the trainer sleeps for its step, so that all cores are left to the workers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.samples import training_item
from benchmarks.timing import Options, Table
from benchmarks.training_sample import training_chain
from bundle.data.dataset import TileDataset
from bundle.data.tile_loader import TileLoader

#: of one step of the trainer, s
PACE = 0.005
#: processes on this machine, and as many as :func:`bundle.training.workers.workers_for` takes of 16 cores
WORKERS, MANY = (1, 2), 8


def run(
    options: Options, size: int = 572, count: int = 60, steps: int = 100, validation: float = 1.0, epochs: int = 3
) -> Iterator[Table]:
    """One table. The first epoch, in which the processes start, is not counted; between two epochs the trainer
    validates and writes a checkpoint, that is, it sleeps for ``validation`` s.
    """
    sample: Any = training_item(size, count, options.seed)
    dataset = TileDataset([sample], training_chain(size), samples_per_epoch=steps, seed=options.seed)
    rows, of_one = [], 0.0
    for workers in WORKERS:
        loader = TileLoader(dataset, batch_size=1, num_workers=workers, persistent_workers=True, prefetch_factor=4)
        at_once, _ = _trained(loader, 0.0, 0.0, epochs)
        waited, first = _trained(loader, PACE, validation, epochs)
        of_one = of_one or at_once
        rows.append(_row(f"{workers}", at_once, waited, f"{1000 * first:.1f}"))
        del loader
    rate = MANY * of_one
    rows.append(_row(f"{MANY}, from the rate of one", rate, max(0.0, 1 - rate * PACE), ""))
    title = f"samples of {size} x {size} px, {count} cells, for a trainer of {1000 * PACE:g} ms a step"
    yield Table(title, ("processes", "samples/s, at most", "it waits", "first of an epoch, ms"), rows)


def _row(name: str, rate: float, waited: float, first: str) -> list[str]:
    return [name, f"{rate:.0f}", f"{100 * waited:.0f} %", first]


def _trained(loader: TileLoader, pace: float, validation: float, epochs: int) -> tuple[float, float]:
    """Without a pace: samples a second; with one: the share of its time that the trainer waits. And the longest wait
    for the first sample of an epoch, s.
    """
    dataset: TileDataset = loader.dataset  # type: ignore[assignment]
    start, spent = dataset.epoch, []
    for epoch in range(start, start + epochs):
        dataset.set_epoch(epoch)
        asked = time.perf_counter()
        for number, _ in enumerate(loader):
            came = time.perf_counter()
            time.sleep(pace)
            done = time.perf_counter()
            if epoch > start:
                spent.append((number, came - asked, done - came))
            asked = done
        time.sleep(validation)
    numbers, waited, trained = np.array(spent).T
    found = waited.sum() / (waited + trained).sum() if pace else len(spent) / waited.sum()
    return float(found), float(waited[numbers == 0].max())
