"""A training step as configs/train.json runs it, beside a bare loop of the same precision and the plainest loop."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.ceiling import COLUMNS, Ceiling, find_ceiling
from benchmarks.steps import ConfiguredTrainer, Step, bare_loop
from benchmarks.targets import at_least, at_most
from benchmarks.timing import Options, Table, counted, interleave, require
from bundle.inference.precision import resolve_precision

OURS, PLAIN = "the trainer of configs/train.json", "plain loop, fp32 NCHW"


def run(options: Options, widths: Sequence[int] = (16, 32), tile_size: int = 572) -> Iterator[Table]:
    """One table for each width; batches of one tile. Making the sample is not part of the step."""
    precision = resolve_precision("auto", options.device)
    ceiling = find_ceiling(precision, options)
    for width in widths:
        with tempfile.TemporaryDirectory() as folder:
            trainer = ConfiguredTrainer(
                Path(folder), options, base_channels=width, tile_size=tile_size, precision=precision
            )
            try:
                yield _table(trainer, width, tile_size, precision, ceiling, options)
            finally:
                trainer.close()


def _table(
    trainer: ConfiguredTrainer, width: int, tile_size: int, precision: str, ceiling: Ceiling, options: Options
) -> Table:
    bare = f"bare loop, {precision} channels_last"
    contenders: dict[str, Step] = {
        OURS: trainer,
        bare: bare_loop(trainer, precision, torch.channels_last),
        PLAIN: bare_loop(trainer, "fp32", torch.contiguous_format),
    }
    flops = _check(contenders, trainer.seed, 1e-5 if options.device == "cpu" else 1e-3)
    timings = interleave({**contenders, ceiling.name: ceiling.run}, options.repeats, options.device)
    part = f"training step, width {width}, {tile_size} px"
    targets = [
        at_least(f"{part}, {precision}", PLAIN, timings[PLAIN].ratio, 1.9),
        at_most(f"engine and handlers of a {part}", bare, 1 / timings[bare].ratio - 1, 0.02, percent=True),
    ]
    title = f"training step, width {width}, tile of {tile_size} px, {precision}, {options.device}"
    return Table(title, COLUMNS, ceiling.rows(timings, flops)[0], targets)


def _check(contenders: dict[str, Step], seed: int, rounding: float) -> int:
    """All start from the same weights, sample and dropout, so their first losses agree; FLOPs of a step."""
    losses = {}
    for name, step in contenders.items():
        torch.manual_seed(seed)
        loss, flops = counted(step)
        losses[name] = loss.item()
    ours, bare, plain = losses.values()
    require(abs(ours / bare - 1) < rounding, f"{OURS}: its first loss is {ours:.6f}, that of a bare loop {bare:.6f}")
    require(abs(ours / plain - 1) < 0.05, f"{OURS}: its first loss is {ours:.4f}, that in fp32 {plain:.4f}")
    return flops
