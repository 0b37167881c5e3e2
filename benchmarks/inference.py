"""Segmenting a whole image: the overlap-tile, the paper's own tiles, and MONAI's U-Net with its sliding window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import BasicUNet
from torch import nn

from benchmarks.targets import at_least
from benchmarks.timing import (
    TIMING_COLUMNS,
    Options,
    Table,
    counted,
    interleave,
    relative_error,
    require,
    timing_cells,
    tolerance,
)
from bundle.geometry import ValidGeometry
from bundle.inference.backends import BACKENDS, prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.precision import autocast
from bundle.networks import UNet

#: input of the paper's tiles, px
PAPER_TILE = 572

Predict = Callable[[], torch.Tensor]
_Network = TypeVar("_Network", bound=nn.Module)


def run(options: Options, size: int = 512, paper_tile: int = PAPER_TILE, window: int = 256) -> Iterator[Table]:
    """A table for bf16 and, with ``full``, one for fp32.

    All networks have five levels of the same widths and random weights. MONAI's is timed as its defaults make it,
    with instance normalisation and in torch's usual layout, and as fast as it gets: like ours with batch
    normalisation, in channels_last.
    """
    torch.manual_seed(options.seed)
    width = options.base_channels
    ready = ready_unet(width, options.device)
    ours = prepare_network(ready)
    stock = stock_unet(width).eval().to(options.device)
    theirs = _ready(stock_unet(width, norm="batch"), options.device)
    image = torch.rand(1, 1, size, size, device=options.device)
    at_once = overlap_tile(ours, image, "fp32", ValidGeometry(4).input_size(size))()
    for precision in ("bf16", "fp32") if options.full else ("bf16",):
        chosen = OverlapTileInferer(precision=precision).choose_tile((size, size), 1, ours, options.device)[0]
        first = f"OverlapTileInferer, chosen tile ({chosen} px)"
        paper = f"OverlapTileInferer, tiles of {paper_tile} px"
        sliding = f"BasicUNet, SlidingWindowInferer {window} px"
        tuned = "BasicUNet, batch norm, channels_last"
        backends = prepared_backends(ready, precision, options.device)
        same = {f"the same, {name}": other for name, other in backends.items() if other is not None}
        del same["the same, eager"]
        windows = SlidingWindowInferer(window, sw_batch_size=4, overlap=0.5, mode="gaussian")
        contenders = {
            first: overlap_tile(ours, image, precision),
            **{name: overlap_tile(other, image, precision) for name, other in same.items()},
            paper: overlap_tile(ours, image, precision, paper_tile),
            "BasicUNet, whole image": padded(stock, image, precision),
            sliding: padded(stock, image, precision, windows),
            f"{tuned}, whole image": padded(theirs, image, precision),
            f"{tuned}, SlidingWindowInferer {window} px": padded(theirs, image, precision, windows),
        }
        flops: dict[str, float] = {}
        for name, predict in contenders.items():
            if name in same:  # which need not pass through torch
                logits, flops[name] = predict(), flops[first]
            else:
                logits, flops[name] = counted(predict)
            require(logits.shape == (1, 2, size, size), f"{name}: logits became {tuple(logits.shape)}")
            require(bool(logits.isfinite().all()), f"{name}: logits are not finite")
            if name in (first, paper, *same):
                _check_tiles(precision, logits, at_once)
        timings = interleave(contenders, options.few, options.device)
        rows = [[name, f"{flops[name] / 1e9:.1f}", *timing_cells(timing)] for name, timing in timings.items()]
        title = f"inference, {size} x {size} px, widths {width} .. {16 * width}, {precision}, {options.device}"
        targets = []
        if precision == "bf16":
            part = f"inference {size} x {size} px, width {width}, bf16"
            targets = [
                at_least(part, sliding, timings[sliding].ratio, 4),
                *(
                    at_least(f"{part}: {name}", sliding, timings[sliding].ratio / timings[name].ratio, 4)
                    for name in same
                ),
                at_least(part, f"the paper's tiles of {paper_tile} px", timings[paper].ratio, 2.3),
            ]
        yield Table(title, ("", "GFLOP", *TIMING_COLUMNS), rows, targets)


def prepared_backends(network: nn.Module, precision: str, device: str) -> dict[str, nn.Module | None]:
    """The network for each backend that computes in this precision here; None where it is not installed."""
    prepared: dict[str, nn.Module | None] = {}
    for name, runtime in BACKENDS.items():
        if precision not in runtime.precisions or (runtime.cpu_only and device != "cpu"):
            continue
        try:
            prepared[name] = prepare_network(network, name)
        except RuntimeError:  # something that it needs is not installed
            prepared[name] = None
    return prepared


def ready_unet(width: int, device: str = "cpu") -> UNet:
    """Of the paper's depth, with batch normalisation and random weights, to be timed at inference."""
    return _ready(UNet(spatial_dims=2, in_channels=1, out_channels=2, base_channels=width, norm="batch"), device)


def stock_unet(width: int, **options: Any) -> BasicUNet:
    """MONAI's, of the same depth and widths."""
    features = (*(width * 2**level for level in range(5)), width)
    return BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=features, **options)


def _ready(network: _Network, device: str) -> _Network:
    """In evaluation mode, channels_last, with batch statistics that keep activations in range."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(1, 1, 188, 188) if isinstance(network, UNet) else torch.rand(1, 1, 192, 192))
    return network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def overlap_tile(network: nn.Module, image: torch.Tensor, precision: str, tile_size: int | None = None) -> Predict:
    """A pass over an image by our inferer, which chooses the tile, now, where none is given."""
    inferer = OverlapTileInferer(tile_size=tile_size, precision=precision)
    if tile_size is None:  # its choice passes the network on the meta device: not to be counted with the image's pass
        inferer.choose_tile(tuple(image.shape[2:]), 1, network, image.device)
    return lambda: inferer(image, network)


def padded(
    network: nn.Module, image: torch.Tensor, precision: str, inferer: Callable[..., Any] | None = None
) -> Predict:
    @torch.no_grad()
    def predict() -> torch.Tensor:
        with autocast(precision, image.device):
            logits = network(image) if inferer is None else inferer(image, network)
        return logits.float()

    return predict


def _check_tiles(precision: str, logits: torch.Tensor, at_once: torch.Tensor) -> None:
    error = relative_error(logits, at_once)
    allowed = tolerance(precision, logits.device.type)
    require(error < allowed, f"{precision}: tiles differ from one fp32 pass over the whole by {error:.2g}")
