"""The tile that the inferer chooses, against every tile it could have chosen. Counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.timing import Options, Table, require
from bundle.geometry import TilePlan
from bundle.inference.overlap_tile import _HEADROOM, OverlapTileInferer
from bundle.inference.tile_cost import TileCost, parse_bytes
from bundle.networks import UNet

#: side of the images, px
IMAGES = (64, 128, 200, 256, 388, 512, 700, 1000, 1024, 1388, 2048, 3000, 4096, 8192)
BOUNDS: dict[str, float | str] = {"no bound on memory": float("inf"), "at most 1 GiB": "1 GiB"}
COLUMNS = ("image", "tile", "tiles", "GFLOP", "over the best", "x asymptote", "MiB")


def run(options: Options, images: Sequence[int] = IMAGES) -> Iterator[Table]:
    """One table for each bound on the memory, for a network of the paper's width; no option changes them.

    "over the best": FLOPs beyond those of the best of all valid tiles, square or not. "x asymptote": FLOPs over
    those of a network that computed each output pixel without any margin. "MiB": activations of one tile.
    """
    network = UNet(spatial_dims=2, in_channels=1, out_channels=2)
    geometry = network.geometry
    cost = TileCost(network, geometry, channels=1, axes=2)
    per_pixel = _asymptote(cost)
    inferers = {bound: OverlapTileInferer(max_memory=most) for bound, most in BOUNDS.items()}
    rows: dict[str, list[list[str]]] = {bound: [] for bound in BOUNDS}
    for n in images:
        ranking = _ranking(cost, n)
        for bound, inferer in inferers.items():
            plan = geometry.plan((n, n), inferer.choose_tile((n, n), 1, network))
            flops = len(plan) * cost.flops(plan.tile_size)
            least = _cheapest(cost, ranking, n, parse_bytes(BOUNDS[bound]))
            require(flops >= least * (1 - 1e-9), f"{n} px, {bound}: the scan of all tiles missed {plan.tile_size}")
            excess = f"{100 * (flops / least - 1):.1f} %", f"{flops / (per_pixel * n * n):.2f}"
            memory = f"{cost.memory(plan.tile_size) / 2**20:.0f}"
            rows[bound].append([f"{n} x {n} px", *_sizes(plan), f"{flops / 1e9:.0f}", *excess, memory])
    for bound, lines in rows.items():
        yield Table(f"choice of the tile, widths 64 .. 1024, fp32, {bound}", COLUMNS, lines)


def _sizes(plan: TilePlan) -> list[str]:
    return [" x ".join(map(str, numbers)) for numbers in (plan.tile_size, plan.counts)]


def _ranking(cost: TileCost, n: int) -> list[tuple[float, tuple[int, int]]]:
    """(FLOPs of all tiles, tile) for every valid tile that can cover a square image, cheapest first."""
    geometry = cost.geometry.axes(2)[0]
    valid = range(geometry.smallest_input, geometry.input_size(n) + 1, geometry.step)
    along = {size: geometry.tiles_along(n, size) for size in valid if geometry.tiles_along(n, size)}
    tiles = [(a, b) for a in along for b in along if a >= b]  # image and network do not tell the axes apart
    return sorted((along[a] * along[b] * cost.flops((a, b)), (a, b)) for a, b in tiles)


def _cheapest(cost: TileCost, ranking: Sequence[tuple[float, tuple[int, int]]], n: int, bound: float) -> float:
    """FLOPs of the first tile that fits the bound by the inferer's own account, the whole map included."""
    room = (bound - 4 * cost.out_channels * n * n) / _HEADROOM
    # the estimate, taken with a margin, spares counting what is far too large
    return next(f for f, tile in ranking if 0.8 * cost.estimated_memory(tile) <= room and cost.memory(tile) <= room)


def _asymptote(cost: TileCost) -> float:
    """FLOPs of one more output pixel of an endless tile: the mixed difference of a cost that is affine an axis."""
    axis = cost.geometry.axes(2)[0]
    small = axis.smallest_input
    large = small + 64 * axis.step
    corners = cost.flops((large, large)) - 2 * cost.flops((small, large)) + cost.flops((small, small))
    return corners / (large - small) ** 2
