"""Volumes: sizes, tiles and the choice of the tile where the axes are alike and where they differ."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.geometry import AxesGeometry, Geometry, PaddedGeometry, ValidGeometry, geometry_of
from bundle.inference.backends import prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.tile_cost import TileCost
from bundle.model.architecture import unet_arguments
from bundle.networks import UNet
from tests.inference.test_overlap_tile import GridShift, one_pass
from tests.reference.tile_choice import literal_choice

FLAT = [[0, 0, 0], [0, 0, 1], [0, 0, 2], [1, 0, 3], [2, 3, 0]]


def unet(flat_levels, norm=None, dtype=torch.float64, **arguments):
    torch.manual_seed(0)
    network = UNet(3, 1, 2, base_channels=2, depth=2, norm=norm, flat_levels=flat_levels, **arguments).to(dtype)
    if norm:
        size = network.geometry.input_sizes((5, 5, 5))
        network(torch.randn(2, 1, *size, dtype=dtype) * 2 + 1)  # statistics unlike the initial ones
    return network.eval()


def literal_sizes(n: int, depth: int, flat: int) -> int | None:
    """Walk through the layers of one axis; None where a pooling would lose a row or nothing is left."""
    skips = []
    for level in range(depth):
        if level >= flat:
            n -= 4
            if n <= 0 or n % 2:
                return None
        skips.append(n)
        n //= 1 if level < flat else 2
    n -= 0 if depth < flat else 4
    for level in reversed(range(depth)):
        n *= 1 if level < flat else 2
        if n <= 0 or (skips[level] - n) % 2:
            return None
        n -= 0 if level < flat else 4
    return n if n > 0 else None


@pytest.mark.parametrize(("depth", "flat"), [(d, f) for d in (1, 2, 3) for f in range(d + 2)])
def test_sizes_along_an_axis_with_flat_levels(depth, flat):
    geometry = ValidGeometry(depth, flat)
    for n in range(1, 200):
        expected = literal_sizes(n, depth, flat)
        assert geometry.is_valid(n) == (expected is not None), n
        if expected is not None:
            assert geometry.output_size(n) == expected


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("flat_levels", FLAT)
def test_the_network_has_the_sizes_of_its_geometry(flat_levels, padding):
    network = unet(flat_levels, padding=padding, dtype=torch.float32)
    size = network.geometry.input_sizes((5, 6, 7))
    with torch.no_grad():
        assert tuple(network(torch.zeros(1, 1, *size)).shape[2:]) == network.geometry.output_sizes(size)
    # the kernels are flat where the levels are, and nothing else differs
    for level, block in enumerate(network.down):
        assert block[0].kernel_size == tuple(1 if level < flat else 3 for flat in flat_levels)
    assert unet_arguments(network.state_dict()).get("flat_levels", [0] * 3) == flat_levels
    scripted = torch.jit.script(network)
    assert geometry_of(scripted) == network.geometry


def test_weights_are_drawn_for_the_size_of_the_kernel():
    torch.manual_seed(0)
    network = UNet(3, 1, 2, base_channels=24, depth=1, flat_levels=[0, 0, 1])
    assert network.down[0][2].weight.std().item() == pytest.approx((2 / (9 * 24)) ** 0.5, rel=0.03)
    assert network.down[1][2].weight.std().item() == pytest.approx((2 / (27 * 48)) ** 0.5, rel=0.03)
    assert network.up[0].weight.std().item() == pytest.approx((2 / 48) ** 0.5, rel=0.05)


def test_a_size_that_is_not_valid_is_named_with_its_axis():
    network = unet([0, 0, 2], dtype=torch.float32)
    message = r"12 px along axis 1 is not valid at depth 2: valid sizes are 44 \+ k \* 4; the nearest are 44 and 48"
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(1, 1, 44, 12, 5))
    with pytest.raises(ValueError, match=r"tile_size 4 px along axis 2 .* with 2 flat levels: .* are 5 and 6"):
        OverlapTileInferer((44, 44, 4))(torch.zeros(1, 1, 9, 9, 9), network)
    with pytest.raises(ValueError, match="3 spatial axes, got sizes of 2"):
        network.geometry.require_valid(44, 44)


@pytest.mark.parametrize(
    ("flat_levels", "message"),
    [
        ([0, 0], "for each of the 3 axes, 0 for one at least, got"),
        ([1, 1, 1], "0 for one at least"),
        ("012", "for each of the 3 axes"),
        ([0, 0, 4], r"flat_levels must be 0 .. 3 levels at depth 2, got 4"),
        ([0, 0, True], "got True"),
    ],
)
def test_flat_levels_that_there_are_not(flat_levels, message):
    with pytest.raises(ValueError, match=message):
        unet(flat_levels)


tiles = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
sizes = st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(1, 20))


def tile_of(geometry: Geometry, more: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(axis.input_size(axis.step) + axis.step * k for axis, k in zip(geometry.axes(3), more, strict=True))


@settings(deadline=None, max_examples=60)
@given(size=sizes, more=tiles, flat_levels=st.sampled_from(FLAT))
def test_voxels_that_encode_their_position_come_back_in_place(size, more, flat_levels):
    shift = GridShift(AxesGeometry(tuple(ValidGeometry(2, flat) for flat in flat_levels)))
    volume = torch.arange(float(np.prod(size)), dtype=torch.float64).reshape(1, 1, *size) + 1
    found = OverlapTileInferer(tile_of(shift.geometry, more))(volume, shift)
    assert torch.equal(found, volume * shift.phase(size))


@settings(deadline=None, max_examples=12)
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(1, 9)), more=tiles, flat=st.sampled_from(FLAT)
)
def test_fp64_tiles_equal_one_pass(size, more, flat):
    network = unet(flat, norm="batch")
    volume = torch.randn(1, 1, *size, dtype=torch.float64)
    found = OverlapTileInferer(tile_of(network.geometry, tuple(k % 2 for k in more)))(volume, network)
    torch.testing.assert_close(found, one_pass(volume, network), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_backends_compute_anisotropic_networks(backend):
    network = unet([0, 0, 2], norm="batch", dtype=torch.float32)
    volume = torch.randn(1, 1, 12, 9, 7)
    found = OverlapTileInferer()(volume, prepare_network(network, backend))
    torch.testing.assert_close(found, one_pass(volume, network), rtol=1e-4, atol=1e-4)


def test_averaging_turns_the_axes_that_are_alike():
    network = unet([1, 0, 0])
    volume = torch.randn(1, 1, 6, 8, 11, dtype=torch.float64)
    turned = [
        torch.rot90(one_pass(torch.rot90(v, k, (3, 4)).contiguous(), network), -k, (3, 4)).flip(dims)
        for v, dims in ((volume, []), (volume.flip(3), [3]))
        for k in range(4)
    ]
    torch.testing.assert_close(OverlapTileInferer(tta="d4")(volume, network), sum(turned) / 8, rtol=0, atol=1e-12)
    with pytest.raises(
        ValueError, match="two axes of equal spacing that the network treats alike, and of 3 there are none"
    ):
        OverlapTileInferer(tta="d4")(volume, unet([2, 0, 1]))


def test_averaging_turns_the_axes_of_equal_spacing():
    network, volume = unet([0, 0, 0]), torch.rand(1, 1, 5, 6, 7, dtype=torch.float64)
    moved = volume.permute(0, 1, 3, 4, 2)
    swapped = unet([0, 0, 0])
    swapped.load_state_dict(
        {
            name: weight.permute(0, 1, 3, 4, 2) if weight.ndim == 5 else weight
            for name, weight in network.state_dict().items()
        }
    )
    first = OverlapTileInferer(tta="d4")(moved, swapped)  # axes 0 and 1 of it are 1 and 2 of the volume
    found = OverlapTileInferer(tta="d4", spacing=(2, 1, 1))(volume, network)
    torch.testing.assert_close(found.permute(0, 1, 3, 4, 2), first, rtol=0, atol=1e-12)
    assert not torch.allclose(found, OverlapTileInferer(tta="d4")(volume, network))
    with pytest.raises(ValueError, match="of equal spacing"):
        OverlapTileInferer(tta="d4", spacing=(1, 2, 3))(volume, network)


@pytest.mark.parametrize("size", [(50, 700), (900, 900), (64, 200, 90), (40, 41, 200)])
@pytest.mark.parametrize("mebibytes", [8, 60, 100_000])
def test_the_tile_is_that_of_a_literal_search(size, mebibytes):
    """The search looks at all candidates at once, and counts only those that can be the answer."""
    flat = None if len(size) == 2 else [0, 0, 1]
    network = UNet(len(size), 1, 2, base_channels=2, depth=2, flat_levels=flat).eval()
    cost = TileCost(network, network.geometry, 1, len(size))
    room = mebibytes * 2.0**20
    chosen = OverlapTileInferer(max_memory=room, probability_of=1).choose_tile(size, 1, network)
    assert chosen == literal_choice(network.geometry, cost, size, room)


def test_flops_and_memory_of_anisotropic_tiles():
    network = unet([0, 0, 2], dtype=torch.float32)
    cost = TileCost(network, network.geometry, 1, 3)
    for tile in ((44, 60, 5), (60, 44, 9), (48, 48, 30)):
        assert cost.flops(tile) == pytest.approx(cost._count(tile)[0], rel=1e-12)
    assert cost.flops((44, 60, 9)) != cost.flops((44, 9, 60))


def test_padded_networks_take_multiples_of_their_own_stride_along_every_axis():
    network = unet([0, 0, 1], padding="same", dtype=torch.float32)
    assert network.geometry == AxesGeometry((PaddedGeometry(4), PaddedGeometry(4), PaddedGeometry(2)))
    volume = torch.randn(1, 1, 7, 8, 3)
    torch.testing.assert_close(OverlapTileInferer()(volume, network), one_pass(volume, network))
