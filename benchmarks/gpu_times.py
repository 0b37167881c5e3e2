"""``python -m benchmarks.gpu_times``: segmentation and training on a GPU in milliseconds, beside those of the paper."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from benchmarks.inference import ready_unet
from benchmarks.steps import ConfiguredTrainer, parser_of
from benchmarks.timing import Options, Table, counted, interleave, now
from bundle.inference.backends import prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.precision import resolve_precision

#: rounds of what takes milliseconds
_ROUNDS = 20


def _seconds(work: Callable[[], object], device: str) -> float:
    """Of one call, the median."""
    return interleave({"": work}, _ROUNDS, device)[""].median


def _peak(device: str) -> str:
    return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if device == "cuda" else "-"


def _segmentation(width: int, device: str, size: int) -> list[list[str]]:
    network = ready_unet(width, device)
    image = torch.rand(1, 1, size, size, device=device)
    rows = []
    for precision in ("fp32", "bf16"):
        for backend in ("eager", "compile"):
            if device == "cpu" and backend == "compile":
                continue
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            predictor, inferer = prepare_network(network, backend), OverlapTileInferer(precision=precision)
            taken = _seconds(partial(inferer, image, predictor), device)
            what = f"segmentation, {size} x {size} px, width {width}, {precision}, {backend}"
            rows.append([what, f"{1e3 * taken:.2f}", "under 1000", _peak(device)])
    return rows


def _training(width: int, device: str, tile: int, tiny: bool) -> list[list[str]]:
    """A step on one sample again and again, and one with its own new samples: the difference is waiting."""
    options, rows = Options(device=device), []
    precision = resolve_precision("auto", device)
    size: dict[str, Any] = {
        "base_channels": width,
        "tile_size": tile,
        "precision": precision,
        **({"depth": 2} if tiny else {}),
    }
    with tempfile.TemporaryDirectory() as folder:
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        trainer = ConfiguredTrainer(Path(folder), options, tracked=False, **size)
        flops = counted(trainer)[1]
        same = _seconds(trainer, device)
        trainer.close()
        what = f"training step, {tile} px, width {width}, {precision}"
        rows.append([f"{what} ({flops / 1e9:.0f} GFLOP)", f"{1e3 * same:.2f}", "-", _peak(device)])
    steps = 10 if tiny else 200
    with tempfile.TemporaryDirectory() as folder:
        length: dict[str, Any] = {"max_epochs": 2, "samples_per_epoch": steps, **({"workers": 1} if tiny else {})}
        parser = parser_of(Path(folder), options, tracked=False, **size, **length)
        trainer, begun = parser.get_parsed_content("train#trainer"), []
        trainer.add_event_handler(Events.EPOCH_STARTED, lambda: begun.append(now(device)))
        trainer.run()
        new = (now(device) - begun[-1]) / steps  # the second epoch: workers are there
        workers = parser.get_parsed_content("train#dataloader").num_workers
    waits = f"waits {100 * max(0.0, 1 - same / new):.0f} %"
    rows.append([f"the same with new samples of {workers} workers, {waits}", f"{1e3 * new:.2f}", "-", "-"])
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_times", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal")
    given = parser.parse_args(argv)
    width, size, tile = (2, 64, 60) if given.tiny else (64, 512, 572)
    rows = [*_segmentation(width, given.device, size), *_training(width, given.device, tile, given.tiny)]
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    print(Table(f"{name}, torch {torch.__version__}", ("", "ms", "the paper, ms", "peak memory"), rows))


if __name__ == "__main__":
    main()
