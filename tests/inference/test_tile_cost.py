"""What the cost model says against what torch counts on real tensors."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from bundle.inference import tile_cost
from bundle.inference.overlap_tile import _HEADROOM, OverlapTileInferer
from bundle.inference.tile_cost import TileCost, parse_bytes
from bundle.networks import UNet


@pytest.mark.parametrize(("dims", "depth"), [(2, 2), (2, 3), (3, 1)])
def test_flops_are_exact_for_every_tile(dims, depth):
    network = UNet(dims, 1, 2, base_channels=3, depth=depth).eval()
    geometry = network.geometry
    cost = TileCost(network, geometry, channels=1, axes=dims)
    first = geometry.smallest_input
    for shape in ([first] * dims, [first + 3 * geometry.step] + [first + geometry.step] * (dims - 1)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 1, *shape))
        assert cost.flops(shape) == pytest.approx(counter.get_total_flops(), rel=1e-9)


def test_the_papers_network_costs_301_gflop_a_tile():
    network = UNet(2, 1, 2).eval()
    assert TileCost(network, network.geometry, 1, 2).flops((572, 572)) == pytest.approx(300.9e9, rel=1e-3)


def test_memory_of_a_chain_worked_out_by_hand():
    """conv -> relu in place -> conv on 8 px: 256 B in, then 6*6*4*4 = 576 B, then 4*4*2*4 = 128 B beside it."""
    chain = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(inplace=True), torch.nn.Conv2d(4, 2, 3))
    network = UNet(2, 1, 2, base_channels=1, depth=1)
    cost = TileCost(chain, network.geometry, channels=1, axes=2)
    assert cost.memory((8, 8)) == 256 + 576 + 128


def test_bf16_takes_half_the_memory():
    network = UNet(2, 1, 2, base_channels=4, depth=2).eval()
    full = TileCost(network, network.geometry, 1, 2, torch.float32).memory((300, 300))
    half = TileCost(network, network.geometry, 1, 2, torch.bfloat16).memory((300, 300))
    assert half * 2 == full


def test_counting_leaves_the_network_alone():
    network = UNet(2, 1, 2, base_channels=2, depth=1, norm="batch")
    before = {name: t.clone() for name, t in network.state_dict().items()}
    TileCost(network, network.geometry, 1, 2).memory((60, 60))
    assert network.training
    torch.testing.assert_close(dict(network.state_dict()), before)


def test_what_cannot_be_counted_costs_its_pixels():
    geometry = UNet(2, 1, 2, base_channels=1, depth=1).geometry
    cost = TileCost(lambda x: x, geometry, 1, 2)
    assert cost.memory((50, 40)) == 50 * 40 * 1500
    assert cost.flops((100, 40)) == pytest.approx(2 * cost.flops((50, 40)))


@pytest.mark.parametrize(
    ("text", "value"), [("1.5 GiB", 1.5 * 2**30), ("400MB", 4e8), ("2kib", 2048), (1024, 1024), ("7", 7)]
)
def test_bytes(text, value):
    assert parse_bytes(text) == value


@pytest.fixture(scope="module")
def chooser():
    """An inferer and what it chooses for; both keep what they have counted from example to example."""
    network = UNet(2, 1, 2, base_channels=8).eval()
    return OverlapTileInferer(), network, TileCost(network, network.geometry, channels=1, axes=2)


def least_flops(image: tuple[int, int], cost: TileCost, room: float) -> float:
    """FLOPs of the best of all valid tiles, square or not, whose activations take ``room`` bytes at most."""
    geometry = cost.geometry
    sizes, tiles = [], []
    for n in image:
        valid = np.arange(geometry.smallest_input, geometry.input_size(n) + 1, geometry.step)
        counts = np.array([geometry.tiles_along(n, int(size)) for size in valid])
        sizes.append(valid[counts > 0])
        tiles.append(counts[counts > 0])
    (a, b), (m, n) = sizes, tiles
    # the cost of one tile is affine in either of its sides: four tiles tell all
    low, high = geometry.smallest_input, geometry.smallest_input + 16 * geometry.step
    corners = np.array([[cost.flops((i, j)) for j in (low, high)] for i in (low, high)])
    along = [np.stack([high - side, side - low], axis=1) / (high - low) for side in (a, b)]
    total = (along[0] @ corners @ along[1].T) * np.outer(m, n)
    for index in np.argsort(total, axis=None):
        i, j = np.unravel_index(index, total.shape)
        tile = int(a[i]), int(b[j])
        # the estimate, with a margin, spares counting what is far too large
        if 0.8 * cost.estimated_memory(tile) <= room and cost.memory(tile) <= room:
            return float(total[i, j])
    raise AssertionError("no tile fits")


@settings(max_examples=25)
@example(image=(64, 64), mebibytes=None)
@example(image=(8192, 8192), mebibytes=None)
@example(image=(8192, 8192), mebibytes=30)
@example(image=(64, 8192), mebibytes=20)
@example(image=(1024, 1024), mebibytes=40)
@given(
    image=st.tuples(st.integers(64, 8192), st.integers(64, 8192)),
    mebibytes=st.one_of(st.none(), st.integers(15, 400)),
)
def test_the_chosen_tile_is_within_5_percent_of_the_best_of_all(chooser, image, mebibytes):
    inferer, network, cost = chooser
    room = float("inf") if mebibytes is None else mebibytes * 2**20
    logits = 4 * 2 * image[0] * image[1]
    inferer.max_memory = _HEADROOM * room + logits
    tile = inferer.choose_tile(image, 1, network)
    assert cost.memory(tile) <= room
    chosen = len(network.geometry.plan(image, tile)) * cost.flops(tile)
    best = least_flops(image, cost, room)
    assert best * (1 - 1e-9) <= chosen <= 1.05 * best


def test_what_torch_keeps_of_an_earlier_image_is_free_memory_of_a_gpu(monkeypatch):
    for name, found in (("mem_get_info", (100, 1000)), ("memory_reserved", 600), ("memory_allocated", 250)):
        monkeypatch.setattr(torch.cuda, name, lambda device, found=found: found)
    assert tile_cost.free_memory("cuda") == 450


def test_files_read_before_do_not_count_as_taken_memory(tmp_path, monkeypatch):
    gib = 2**30
    (tmp_path / "memory.max").write_text(f"{gib}\n")
    (tmp_path / "memory.current").write_text(f"{gib - 4096}\n")
    monkeypatch.setattr(tile_cost, "Path", lambda path: tmp_path / path.rsplit("/", 1)[1])
    assert tile_cost.free_memory("cpu") == 4096
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {gib // 2}\n")
    assert tile_cost.free_memory("cpu") == 4096 + gib // 2
    (tmp_path / "memory.max").write_text("max\n")
    assert tile_cost.free_memory("cpu") > gib
