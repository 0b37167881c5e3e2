"""What this machine can do at most: 3x3 convolutions of many channels, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional as F

from benchmarks.timing import TIMING_COLUMNS, Options, Timing, counted, digits, interleave, timing_cells

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
#: what :meth:`Ceiling.rows` fills
COLUMNS = ("", "GFLOP/s", "of the ceiling", *TIMING_COLUMNS)
#: channels in and out
CHANNELS = 256
#: (images, side in px), among which the fastest is the ceiling
SHAPES = {"cpu": ((1, 48), (1, 64), (1, 96), (1, 128)), "cuda": ((1, 256), (1, 512), (8, 128), (8, 256))}


@dataclass(frozen=True)
class Ceiling:
    """The fastest convolution found.

    Attributes:
        name: its shape and precision.
        flops: of one call.
        run: the call, to be timed beside others.
        rate: FLOP/s when it was found.
    """

    name: str
    flops: int
    run: Callable[[], torch.Tensor]
    rate: float

    def share(self, flops: float, ratio: float) -> float:
        """Of this rate, by work of ``flops`` that takes ``ratio`` times as long as one call."""
        return flops / self.flops / ratio

    def rows(self, timings: Mapping[str, Timing], flops: float) -> tuple[list[list[str]], dict[str, float]]:
        """A row for each contender, of which this convolution is one and the others are of ``flops``; their shares."""
        rows, shares = [], {}
        for name, timing in timings.items():
            work = self.flops if name == self.name else flops
            shares[name] = self.share(work, timing.ratio / timings[self.name].ratio)
            rate = digits(work / timing.median / 1e9)
            rows.append([name, rate, f"{100 * shares[name]:.1f} %", *timing_cells(timing)])
        return rows, shares


def find_ceiling(precision: str, options: Options, channels: int = CHANNELS) -> Ceiling:
    """Time channels_last 3x3 convolutions of several sizes, all in one precision; the fastest wins."""
    found = {}
    for images, side in SHAPES[options.device]:
        tensors = torch.randn(images, channels, side, side), torch.randn(channels, channels, 3, 3)
        image, weight = (
            tensor.to(options.device, DTYPES[precision]).contiguous(memory_format=torch.channels_last)
            for tensor in tensors
        )
        run = partial(F.conv2d, image, weight)
        name = f"3x3 convolution {channels} -> {channels}, {images} x {side} x {side} px"
        found[name] = counted(run)[1], run
    timings = interleave({name: run for name, (_, run) in found.items()}, options.repeats, options.device)
    name = max(found, key=lambda name: found[name][0] / timings[name].median)
    flops, run = found[name]
    return Ceiling(name, flops, run, flops / timings[name].median)
