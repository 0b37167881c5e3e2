"""How much of this machine's convolution ceiling a whole forward pass reaches, by backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.ceiling import COLUMNS, DTYPES, Ceiling, find_ceiling
from benchmarks.inference import prepared_backends, ready_unet
from benchmarks.targets import at_least
from benchmarks.timing import (
    TIMING_COLUMNS,
    Options,
    Table,
    interleave,
    relative_error,
    require,
    timing_cells,
    tolerance,
)
from bundle.inference.backends import BACKENDS
from bundle.inference.precision import autocast
from bundle.inference.tile_cost import TileCost

#: input of the tiles, px: what one image of 512 px takes, and a larger one
TILES = (700, 1020)
#: precision -> least share of the ceiling, at the first of the tiles
LEAST_SHARE = {"fp32": 0.85, "bf16": 0.92}


def run(options: Options, tiles: Sequence[int] = TILES) -> Iterator[Table]:
    """A table for each precision and tile: all backends installed at the first, eager torch at the other; and one of
    the levels of the network alone.

    The target is for the fastest of them. "GFLOP/s" and "of the ceiling" count the convolutions' operations only, and
    the time of everything.
    """
    torch.manual_seed(options.seed)
    width = options.base_channels
    network = ready_unet(width, options.device)
    cost = TileCost(network, network.geometry, channels=1, axes=2)
    for precision in ("fp32", "bf16"):
        ceiling = find_ceiling(precision, options)
        backends = prepared_backends(network, precision, options.device)
        for number, size in enumerate(tiles):
            tile = torch.rand(1, 1, size, size, device=options.device)
            flops = cost.flops((size, size))
            contenders: dict[str, Callable[[], torch.Tensor]] = {ceiling.name: ceiling.run}
            missing = []
            for name in BACKENDS if number == 0 else ["eager"]:
                prepared = backends.get(name)
                if prepared is not None:
                    contenders[name] = _checked(name, prepared, network, tile, precision)
                else:
                    missing.append([f"{name}: not available here", *[""] * (2 + len(TIMING_COLUMNS))])
            timings = interleave(contenders, options.few, options.device)
            rows, shares = ceiling.rows(timings, flops)
            targets = []
            if number == 0:
                best = max(shares.keys() - {ceiling.name}, key=lambda name: shares[name])
                part = f"forward pass, tile {size} px, width {width}, {precision}, {best}"
                targets = [at_least(part, "convolution ceiling", shares[best], LEAST_SHARE[precision], percent=True)]
            title = f"forward pass, tile of {size} px, widths {width} .. {16 * width}, {precision}, {options.device}"
            yield Table(title, COLUMNS, rows + missing, targets)
        yield _levels(network, tiles[0], precision, ceiling, options)


def _levels(network: nn.Module, size: int, precision: str, ceiling: Ceiling, options: Options) -> Table:
    """The 3x3 convolutions of each level with their ReLU, alone: where few channels keep a pass from the ceiling."""
    inputs: dict[int, list[tuple[nn.Conv2d, torch.Size]]] = {}

    def note(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        if module.kernel_size == (3, 3):
            # the channels of a level double from one to the next, whatever size the valid convolutions leave
            inputs.setdefault(module.out_channels, []).append((module, arguments[0].shape))

    hooks = [m.register_forward_pre_hook(note) for m in network.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        network(torch.rand(1, 1, size, size, device=options.device))
    for hook in hooks:
        hook.remove()
    contenders = {ceiling.name: ceiling.run}
    works = {ceiling.name: float(ceiling.flops)}
    for channels, layers in sorted(inputs.items()):
        name = f"{channels} channels"
        contenders[name] = _convolutions(layers, precision, options.device)
        works[name] = sum(2 * 9 * m.in_channels * m.out_channels * (s[2] - 2) * (s[3] - 2) for m, s in layers)
    timings = interleave(contenders, options.few, options.device)
    whole = sum(works[name] for name in works if name != ceiling.name)
    time = sum(timings[name].median for name in works if name != ceiling.name)
    rows = []
    for name, timing in timings.items():
        shares = ("", "") if name == ceiling.name else (works[name] / whole, timing.median / time)
        cells = [share if isinstance(share, str) else f"{100 * share:.0f} %" for share in shares]
        rows.append([name, *cells, f"{100 * ceiling.share(works[name], timing.ratio):.0f} %", *timing_cells(timing)])
    title = f"3x3 convolutions of each level alone, tile of {size} px, {precision}, {options.device}, eager"
    return Table(title, ("", "of the work", "of the time", "of the ceiling", *TIMING_COLUMNS), rows)


def _convolutions(
    layers: Sequence[tuple[nn.Conv2d, torch.Size]], precision: str, device: str
) -> Callable[[], torch.Tensor]:
    tensors = [
        (
            torch.randn(shape, device=device).to(DTYPES[precision], memory_format=torch.channels_last),
            module.weight.detach().to(DTYPES[precision]).contiguous(memory_format=torch.channels_last),
        )
        for module, shape in layers
    ]

    @torch.no_grad()
    def run() -> torch.Tensor:
        for image, weight in tensors:
            found = F.conv2d(image, weight).relu_()
        return found

    return run


def _checked(
    name: str, prepared: nn.Module, network: nn.Module, tile: torch.Tensor, precision: str
) -> Callable[[], torch.Tensor]:
    """One pass of a backend over the tile, checked against eager fp32."""

    @torch.no_grad()
    def predict() -> torch.Tensor:
        with autocast(precision, tile.device):
            return prepared(tile)

    with torch.no_grad():
        expected = network(tile)
    error = relative_error(predict(), expected)
    allowed = tolerance(precision, tile.device.type)
    require(error < allowed, f"{name}, {precision}: differs from eager fp32 by {error:.2g}")
    return predict
