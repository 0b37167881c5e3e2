"""What the record of a run costs: blocks of training steps with MLflow and without, in turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.steps import ConfiguredTrainer
from benchmarks.targets import at_most
from benchmarks.timing import Options, Table, interleave, timing_table
from bundle.inference.precision import resolve_precision
from bundle.tracking.mlflow_store import Writer

ON, OFF = "MLflowTracker, SQLite", "no tracking"


def run(
    options: Options, width: int = 16, tile_size: int = 572, steps: int = 20, pause: float = Writer.interval
) -> Iterator[Table]:
    """One table. A block of ``steps`` is longer than the writing thread sleeps, so that its work falls among the steps
    it is for; in the ``pause`` (s) before every block the thread can finish what is left of the block before.
    """
    precision = resolve_precision("auto", options.device)
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            name: ConfiguredTrainer(
                Path(folder) / str(int(tracked)),
                options,
                tracked=tracked,
                base_channels=width,
                tile_size=tile_size,
                precision=precision,
            )
            for name, tracked in ((OFF, False), (ON, True))
        }
        try:
            for trainer in trainers.values():
                trainer()  # the first step opens the run
            blocks = {name: partial(_block, trainer, steps) for name, trainer in trainers.items()}
            timings = interleave(blocks, options.few, options.device, between=partial(time.sleep, pause))
        finally:
            for trainer in trainers.values():
                trainer.close()
    part = f"tracking of training steps, width {width}, {tile_size} px"
    targets = [at_most(part, OFF, timings[ON].ratio - 1, 0.01, percent=True)]
    yield timing_table(f"blocks of {steps} {part.split(' of ')[1]}, {precision}", timings, targets)


def _block(step: Callable[[], object], steps: int) -> None:
    for _ in range(steps):
        step()
