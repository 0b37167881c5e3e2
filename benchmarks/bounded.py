"""A large image within a bound on memory: what the bound costs, counted, and what is really allocated, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import nn

from benchmarks.inference import ready_unet
from benchmarks.memory import MIB, peak_memory
from benchmarks.targets import at_most
from benchmarks.timing import Options, Table
from bundle.inference.backends import prepare_network
from bundle.inference.backends.calibration import calibrated
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.tile_cost import TileCost, parse_bytes
from bundle.networks import UNet

COLUMNS = ("", "tile", "tiles", "GFLOP", "over one tile", "bound, MiB", "peak, MiB")


def run(
    options: Options,
    size: int = 2048,
    cases: Sequence[tuple[int, str]] = ((16, "0.4 GiB"), (64, "1.5 GiB")),
) -> Iterator[Table]:
    """A table in bf16, with ``full`` also one in int8; a case is (width of the first level, bound).

    "over one tile": operations beyond those of one tile for the whole image. "peak": resident memory that a fresh
    process adds while it segments; of the last case, which takes minutes, with ``full`` only.
    """
    for precision in ("bf16", "int8") if options.full else ("bf16",):
        yield _table(options, size, cases, precision)


def _table(options: Options, size: int, cases: Sequence[tuple[int, str]], precision: str) -> Table:
    rows, targets = [], []
    backend = "openvino" if precision == "int8" else "eager"
    for number, (width, bound) in enumerate(cases):
        network = UNet(spatial_dims=2, in_channels=1, out_channels=2, base_channels=width, norm="batch").eval()
        geometry = network.geometry
        cost = TileCost(network, geometry, channels=1, axes=2)
        inferer = OverlapTileInferer(max_memory=bound, precision="bf16")  # memory of int8 is counted as that of bf16
        plan = geometry.plan((size, size), inferer.choose_tile((size, size), 1, prepare_network(network, backend)))
        flops = len(plan) * cost.flops(plan.tile_size)
        excess = flops / cost.flops(geometry.input_sizes((size, size)))
        part = f"{size} x {size} px, width {width}, {precision}, at most {bound}"
        targets.append(at_most(f"operations of {part}", "one tile without bound", excess, 1.08))
        row = [f"width {width}", *(" x ".join(map(str, numbers)) for numbers in (plan.tile_size, plan.counts))]
        row += [f"{flops / 1e9:.0f}", f"{100 * (excess - 1):.1f} %", f"{parse_bytes(bound) / MIB:.0f}"]
        if options.full or number < len(cases) - 1:
            case = {"size": size, "width": width, "bound": bound, "seed": options.seed, "precision": precision}
            peak = peak_memory("bounded", **case)
            row.append("not known here" if peak is None else f"{peak / MIB:.0f}")
            if peak is not None:
                measured = peak / parse_bytes(bound)
                targets.append(at_most(f"peak memory of {part}", "its bound", measured, 1.0, percent=True))
        else:
            row.append("--full")
        rows.append(row)
    title = f"segmentation of {size} x {size} px within a bound on memory, {precision}"
    return Table(title, COLUMNS, rows, targets)


def prepared(size: int, width: int, bound: str, seed: int, precision: str = "bf16") -> Callable[[], object]:
    """For :func:`benchmarks.memory.peak_memory`."""
    torch.manual_seed(seed)
    _segment(_network(2, precision), torch.rand(1, 1, 64, 64), bound, precision)
    return partial(_segment, _network(width, precision), torch.rand(1, 1, size, size), bound, precision)


def _network(width: int, precision: str) -> nn.Module:
    """Computed by PyTorch; by OpenVINO in int8."""
    network = ready_unet(width)
    if precision != "int8":
        return prepare_network(network)
    with torch.no_grad():
        return prepare_network(network, "openvino", calibrated(network, [torch.rand(1, 1, 252, 252)]))


def _segment(network: nn.Module, image: torch.Tensor, bound: str, precision: str) -> torch.Tensor:
    return OverlapTileInferer(max_memory=bound, precision=precision)(image, network)
