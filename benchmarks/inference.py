"""Segmenting a whole image: the overlap-tile, the paper's own tiles, and MONAI's U-Net with its sliding window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import BasicUNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells
from bundle.geometry import ValidGeometry
from bundle.inferers import OverlapTileInferer
from bundle.networks import UNet
from bundle.precision import autocast

__all__ = ["run"]

#: input of the paper's tiles, px
PAPER_TILE = 572


def run(options: Options, size: int = 512, paper_tile: int = PAPER_TILE, window: int = 256) -> Iterator[Table]:
    """One table for each precision.

    Both networks have batch normalisation, five levels of the same widths and random weights; both are in
    evaluation mode and channels_last.
    """
    torch.manual_seed(0)
    width = options.base_channels
    ours = _ready(UNet(spatial_dims=2, in_channels=1, out_channels=2, base_channels=width, norm="batch"))
    features = (*(width * 2**level for level in range(5)), width)
    theirs = _ready(BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=features, norm="batch"))
    image = torch.rand(1, 1, size, size)
    whole = ValidGeometry(4).input_size(size)
    for precision in ("fp32", "bf16"):
        chosen = OverlapTileInferer(precision=precision).choose_tile((size, size), 1, ours)[0]
        contenders: dict[str, Callable[[], torch.Tensor]] = {
            f"OverlapTileInferer, chosen tile ({chosen} px)": _overlap_tile(ours, image, precision),
            f"OverlapTileInferer, tiles of {paper_tile} px": _overlap_tile(ours, image, precision, paper_tile),
            "BasicUNet, whole image": _padded(theirs, image, precision),
            f"BasicUNet, SlidingWindowInferer {window} px": _padded(
                theirs, image, precision, SlidingWindowInferer(window, sw_batch_size=4, overlap=0.5, mode="gaussian")
            ),
        }
        flops = {}
        maps = {}
        for name, predict in contenders.items():
            predict()  # the choice of the tile passes the network once on the meta device: not to be counted
            with FlopCounterMode(display=False) as counter:
                maps[name] = predict()
            flops[name] = counter.get_total_flops()
            require(maps[name].shape == (1, 2, size, size), f"{name}: logits became {tuple(maps[name].shape)}")
            require(bool(maps[name].isfinite().all()), f"{name}: logits are not finite")
        by_tile = list(maps.values())[:2]
        at_once = _overlap_tile(ours, image, "fp32", whole)()
        tolerance = 1e-4 if precision == "fp32" else 0.1
        for logits in by_tile:
            error = ((logits - at_once).abs().max() / at_once.abs().max()).item()
            require(error < tolerance, f"{precision}: tiles differ from one fp32 pass over the whole by {error:.2g}")
        timings = interleave(contenders, options.repeats)
        rows = [[name, f"{flops[name] / 1e9:.1f}", *timing_cells(timing)] for name, timing in timings.items()]
        title = f"inference, {size} x {size} px, widths {width} .. {16 * width}, {precision}"
        yield Table(title, ("", "GFLOP", *TIMING_COLUMNS), rows)


def _ready(network: nn.Module) -> nn.Module:
    """In evaluation mode, channels_last, with batch statistics that keep activations in range."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(1, 1, 188, 188) if isinstance(network, UNet) else torch.rand(1, 1, 192, 192))
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _overlap_tile(
    network: nn.Module, image: torch.Tensor, precision: str, tile_size: int | None = None
) -> Callable[[], torch.Tensor]:
    inferer = OverlapTileInferer(tile_size=tile_size, precision=precision)
    return lambda: inferer(image, network)


def _padded(
    network: nn.Module, image: torch.Tensor, precision: str, inferer: Callable[..., Any] | None = None
) -> Callable[[], torch.Tensor]:
    @torch.no_grad()
    def predict() -> torch.Tensor:
        with autocast(precision, image.device):
            logits = network(image) if inferer is None else inferer(image, network)
        return logits.float()

    return predict
