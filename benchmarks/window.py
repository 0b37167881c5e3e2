"""What a map costs by one window a pixel (Ciresan 2012), by the same network's dense form, and by the U-Net."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from benchmarks.inference import overlap_tile, ready_unet
from benchmarks.targets import at_least
from benchmarks.timing import Options, Table, counted, digits, interleave, relative_error, require, tolerance
from bundle.inference.precision import autocast
from bundle.networks import WindowCNN
from bundle.networks.window_cnn import per_pixel

#: side of the square of pixels that are classified one by one, px: enough for full batches, and seconds a call
SQUARE = 8


def run(
    options: Options, size: int = 512, windows: Sequence[int] = (95, 65), base_channels: int = 48, square: int = SQUARE
) -> Iterator[Table]:
    """A table for fp32 and, with ``full``, one for bf16.

    One window a pixel is timed on the square in the middle of the image only and multiplied by the pixels of the image:
    every window costs the same. The target is the number of operations that a U-Net of width 64 saves, rounded down.
    """
    torch.manual_seed(options.seed)
    image = torch.rand(1, 1, size, size, device=options.device)
    unet = ready_unet(options.base_channels, options.device)
    start = (size - square) // 2
    inside = slice(start, start + square)
    factor = (size / square) ** 2
    for precision in ("fp32", "bf16") if options.full else ("fp32",):
        first = f"U-Net, width {options.base_channels}"
        # name -> call, and what of the image it computes
        contenders: dict[str, Callable[[], torch.Tensor]] = {first: overlap_tile(unet, image, precision)}
        share = {first: 1.0}
        for window in windows:
            network = WindowCNN(in_channels=1, out_channels=2, window=window, base_channels=base_channels).eval()
            network = network.to(device=options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            dense, one_by_one = f"windows of {window} px, dense", f"windows of {window} px, one a pixel"
            contenders[dense] = overlap_tile(network, image, precision)
            contenders[one_by_one] = _square(network, image, precision, (start, start + square))
            share |= {dense: 1.0, one_by_one: factor}
            error = relative_error(contenders[one_by_one](), contenders[dense]()[..., inside, inside])
            allowed = tolerance(precision, options.device)
            require(error < allowed, f"{precision}: windows of {window} px one by one differ from dense by {error:.2g}")
        flops = {name: share[name] * counted(call)[1] for name, call in contenders.items()}
        timings = interleave(contenders, options.few, options.device)
        seconds = {name: share[name] * timing.median for name, timing in timings.items()}
        ratio = {name: share[name] * timing.ratio for name, timing in timings.items()}
        rows = [
            [
                name if share[name] == 1 else f"{name} ({square**2} timed, x {share[name]:g})",
                digits(flops[name] / 1e9),
                digits(seconds[name]),
                digits(ratio[name]),
            ]
            for name in contenders
        ]
        part = f"U-Net of width {options.base_channels}, {size} x {size} px, {precision}"
        targets = [
            at_least(part, name, ratio[name], _rounded_down(flops[name] / flops[first]))
            for name in contenders
            if share[name] > 1
        ]
        title = f"windows, {size} x {size} px, {base_channels} maps, {precision}, {options.device}"
        yield Table(title, ("", "GFLOP", "s an image", "ratio"), rows, targets)


def _square(
    network: WindowCNN, image: torch.Tensor, precision: str, span: tuple[int, int]
) -> Callable[[], torch.Tensor]:
    def classify() -> torch.Tensor:
        with autocast(precision, image.device):
            return per_pixel(network, image, [span, span]).float()

    return classify


def _rounded_down(value: float) -> float:
    """To one digit: 131 becomes 100."""
    scale = 10 ** math.floor(math.log10(value))
    return math.floor(value / scale) * scale
