"""``python -m benchmarks.profile``: where a training step and a segmentation spend their time, by torch's profiler.

Writes ``profiles/training_step.txt`` and ``profiles/inference.txt`` beside this file, or into ``--output``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import machine, set_threads

FOLDER = Path(__file__).resolve().parent / "profiles"
#: operations in a report
TOP = 18


def main(argv: Sequence[str] | None = None) -> int:
    """Profile both, write and print the reports."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--training-width", type=int, default=16, help="of the network in training (default 16)")
    parser.add_argument("--inference-width", type=int, default=64, help="of the network at inference (default 64)")
    parser.add_argument("--tile", type=int, default=572, help="of the training step, px (default 572)")
    parser.add_argument("--size", type=int, default=512, help="of the image that is segmented, px (default 512)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the reports")
    chosen = parser.parse_args(argv)
    set_threads(chosen.threads)
    import torch

    from benchmarks.inference import ready_unet
    from benchmarks.steps import ConfiguredTrainer
    from benchmarks.timing import Options
    from bundle.inference.backends import prepare_network
    from bundle.inference.overlap_tile import OverlapTileInferer

    chosen.output.mkdir(parents=True, exist_ok=True)
    about = machine(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        trainer = ConfiguredTrainer(
            Path(folder),
            Options(),
            tracked=False,
            base_channels=chosen.training_width,
            tile_size=chosen.tile,
            precision="bf16",
        )
        what = f"training step of configs/train.json, width {chosen.training_width}, tile {chosen.tile} px, bf16"
        _write(chosen.output / "training_step.txt", report(trainer, what, about))
        trainer.close()
    torch.manual_seed(0)
    network = prepare_network(ready_unet(chosen.inference_width))
    image = torch.rand(1, 1, chosen.size, chosen.size)
    inferer = OverlapTileInferer(precision="bf16")
    what = f"segmentation of {chosen.size} x {chosen.size} px, width {chosen.inference_width}, bf16, eager"
    _write(chosen.output / "inference.txt", report(lambda: inferer(image, network), what, about))
    return 0


def report(work: Callable[[], object], what: str, about: str) -> str:
    """Run ``work`` until it is warm, then once under the profiler.

    Returns:
        text: machine and versions, the operations of the largest own time with their share, calls and what they
        allocated themselves (less what they freed), and the sums.
    """
    from torch.profiler import ProfilerActivity, profile

    for _ in range(3):
        work()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events: list[Any] = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    lines = [what, about, "", f"{'own ms':>9} {'share':>7} {'calls':>6} {'MiB':>9}  operation"]
    lines += [_line(event.key, *_sums([event], total)) for event in events[:TOP]]
    lines.append(_line("all others", *_sums(events[TOP:], total)))
    return "\n".join([*lines, _line("together", *_sums(events, total)), ""])


def _sums(events: Sequence[Any], total: float) -> tuple[float, float, int, int]:
    fields = ("self_cpu_time_total", "count", "self_cpu_memory_usage")
    microseconds, count, size = (sum(getattr(event, field) for event in events) for field in fields)
    return microseconds, total, count, size


def _line(name: str, microseconds: float, total: float, count: int, size: int) -> str:
    return f"{microseconds / 1e3:9.2f} {100 * microseconds / total:6.1f}% {count:6d} {size / 2**20:9.1f}  {name}"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
