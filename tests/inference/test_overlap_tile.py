"""Tiles against one pass over the whole mirrored image: no seam, whatever the tile."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch import nn

from bundle.geometry import Geometry, PaddedGeometry, ValidGeometry
from bundle.inference.backends import prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.networks import DCN, FCN, MultiLevel, UNet, WindowCNN


def one_pass(image: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """The definition: mirror the whole image with numpy, one forward pass, crop."""
    size = image.shape[2:]
    margins, inputs = network.geometry.margins(len(size)), network.geometry.input_sizes(size)
    pads = [(margin, total - n - margin) for margin, total, n in zip(margins, inputs, size, strict=True)]
    mirrored = torch.from_numpy(np.pad(image.numpy(), [(0, 0), (0, 0), *pads], mode="reflect"))
    with torch.no_grad():
        return network(mirrored)[(..., *(slice(n) for n in size))]


def unet(spatial_dims=2, depth=2, norm=None, seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    network = UNet(spatial_dims, 1, 2, base_channels=3, depth=depth, norm=norm).to(dtype)
    if norm == "batch":
        n = network.geometry.smallest_input
        network(torch.randn(4, 1, *[n] * spatial_dims, dtype=dtype) * 2 + 1)  # statistics unlike the initial ones
    return network.eval()


class Shift(nn.Module):
    """A 'network' that returns the pixel at the centre of each output's context: the identity, if tiles are right."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margins = self.geometry.margins(x.dim() - 2)
        return x[(..., *(slice(m, n - m) for m, n in zip(margins, x.shape[2:], strict=True)))]


class GridShift(Shift):
    """As Shift, but multiplied by the place on the pooling grid: wrong as soon as a tile is off the grid."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        return out * self.phase(out.shape[2:])

    def phase(self, size: Sequence[int]) -> torch.Tensor:
        each = zip(size, self.geometry.axes(len(size)), strict=True)
        along = torch.meshgrid(*(torch.arange(n) % axis.step + 1 for n, axis in each), indexing="ij")
        return torch.stack(along).prod(dim=0)


def positions(*size: int) -> torch.Tensor:
    return torch.arange(float(np.prod(size)), dtype=torch.float64).reshape(1, 1, *size) + 1


sizes_2d = st.tuples(st.integers(1, 90), st.integers(1, 90))


@settings(deadline=None, max_examples=60)
@given(size=sizes_2d, tiles=st.tuples(st.integers(0, 8), st.integers(0, 8)), depth=st.integers(1, 4))
def test_pixels_that_encode_their_position_come_back_in_place(size, tiles, depth):
    geometry = ValidGeometry(depth)
    tile_size = tuple(geometry.input_size(geometry.step) + geometry.step * k for k in tiles)
    image = positions(*size)
    assert torch.equal(OverlapTileInferer(tile_size)(image, Shift(geometry)), image)
    grid = GridShift(geometry)
    assert torch.equal(OverlapTileInferer(tile_size)(image, grid), image * grid.phase(size))


@settings(deadline=None, max_examples=40)
@given(size=sizes_2d, tiles=st.tuples(st.integers(0, 8), st.integers(0, 8)), depth=st.integers(1, 3))
def test_fp64_tiles_equal_one_pass(size, tiles, depth):
    network = unet(depth=depth, dtype=torch.float64)
    geometry = network.geometry
    tile_size = tuple(geometry.input_size(geometry.step) + geometry.step * k for k in tiles)
    image = torch.randn(1, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = one_pass(image, network)
    found = OverlapTileInferer(tile_size)(image, network)
    assert found.shape == (1, 2, *size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile_size", [204, 220, (252, 332), 444, None])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_fp32_tiles_equal_one_pass_at_the_papers_depth(tile_size, norm):
    network = unet(depth=4, norm=norm)
    image = torch.randn(1, 1, 131, 260, generator=torch.Generator().manual_seed(1))
    expected = one_pass(image, network)
    found = OverlapTileInferer(tile_size)(image, network)
    assert (found - expected).abs().max() <= 1e-4 * expected.std()


@pytest.mark.parametrize("tile_size", [204, 252, (300, 220)])
def test_bit_equal_without_onednn_and_one_number_of_threads(tile_size):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.mkldnn.flags(enabled=False):
            network = unet(depth=4)
            image = torch.randn(1, 1, 150, 97, generator=torch.Generator().manual_seed(1))
            assert torch.equal(OverlapTileInferer(tile_size)(image, network), one_pass(image, network))
    finally:
        torch.set_num_threads(threads)


def test_stepping_by_the_whole_output_would_show_a_seam():
    """The mistake this inferer avoids: a shift that is no multiple of the pooling step changes the result."""
    network = unet(depth=3)
    image = torch.randn(1, 1, 300, 300, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = network(image[..., :220, :220])
        aligned = network(image[..., 8:228, :220])
        shifted = network(image[..., 4:224, :220])
    overlap = whole[..., 8:, :], aligned[..., :-8, :]
    assert (overlap[0] - overlap[1]).abs().max() < 1e-4 * whole.std()
    assert (whole[..., 4:, :] - shifted[..., :-4, :]).abs().max() > 0.05 * whole.std()


def test_batches_are_their_images():
    network = unet()
    images = torch.randn(3, 1, 33, 21, generator=torch.Generator().manual_seed(1))
    inferer = OverlapTileInferer(tile_size=52)
    single = torch.cat([inferer(image[None], network) for image in images])
    assert torch.equal(inferer(images, network), single)


@pytest.mark.parametrize(("tta", "members"), [("d4", 8), ("paper7", 7)])
@pytest.mark.parametrize("size", [(40, 27), (16, 16, 5)])
def test_averaging_is_the_mean_of_the_turned_images(tta, members, size):
    network = unet(spatial_dims=len(size), depth=1, dtype=torch.float64)
    image = torch.randn(1, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    total, count = 0, 0
    for mirrored in (False, True):
        for turns in range(4):
            if count == members:
                break
            turned = image.flip(2) if mirrored else image
            turned = torch.rot90(turned, turns, (2, 3))
            back = torch.rot90(one_pass(turned.contiguous(), network), -turns, (2, 3))
            total, count = total + (back.flip(2) if mirrored else back), count + 1
    found = OverlapTileInferer(tile_size=24, tta=tta)(image, network)
    torch.testing.assert_close(found, total / members, rtol=0, atol=1e-12)


def test_d4_of_a_turned_image_is_the_turned_d4():
    network = unet(depth=1, dtype=torch.float64)
    image = torch.randn(1, 1, 31, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inferer = OverlapTileInferer(tta="d4")
    turned = torch.rot90(inferer(torch.rot90(image, 1, (2, 3)), network), -1, (2, 3))
    torch.testing.assert_close(inferer(image, network), turned, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", [0, -1])
def test_a_stack_is_its_slices(axis):
    network = unet()
    stack = torch.randn(1, 1, 4, 30, 4, generator=torch.Generator().manual_seed(1))
    inferer = OverlapTileInferer(tile_size=52, stack_axis=axis)
    found = inferer(stack, network)
    assert found.shape == (1, 2, 4, 30, 4)
    for i in range(4):
        where = (..., i, slice(None), slice(None)) if axis == 0 else (..., i)
        assert torch.equal(found[where], inferer(stack[where], network))


def test_each_tile_is_told_before_it_is_worked_on_and_may_end_the_inference():
    told, inferer = [], OverlapTileInferer(60)
    inferer.on_tile = lambda done, total: told.append((done, total))
    inferer(torch.rand(2, 1, 100, 90), unet())
    count = 2 * len(unet().geometry.plan((100, 90), 60))
    assert told == [(number, count) for number in range(count)]

    def cancel(done, total):
        if done == 1:
            raise KeyError("enough")

    inferer.on_tile = cancel
    with pytest.raises(KeyError, match="enough"):
        inferer(torch.rand(2, 1, 100, 90), unet())


def test_metadata_survives():
    network = unet()
    image = MetaTensor(torch.rand(1, 1, 20, 20), affine=torch.diag(torch.tensor([2.0, 3, 1, 1])), meta={"a": 5})
    found = OverlapTileInferer()(image, network)
    assert isinstance(found, MetaTensor)
    assert found.meta["a"] == 5
    assert torch.equal(found.affine, image.affine)
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("make", "tile"),
    [
        (lambda: unet(), 60),
        (lambda: UNet(2, 1, 2, base_channels=2, depth=3, padding="same"), 80),
        (lambda: DCN(2, 1, 2, base_channels=2), 80),
        (lambda: DCN(2, 1, 2, base_channels=2, branches=(True, True, False)), 76),
        (lambda: FCN(2, 1, 2, base_channels=2, stride=8), 96),
        (lambda: MultiLevel(2, 1, 2, base_channels=2), 80),
        (lambda: WindowCNN(1, 2, window=65, base_channels=2, hidden_units=4), 100),
    ],
)
def test_scripted_networks_know_their_sizes(make, tile, tmp_path):
    torch.manual_seed(0)
    network = make().eval()
    torch.jit.save(torch.jit.script(network), tmp_path / "network.ts")
    scripted = torch.jit.load(tmp_path / "network.ts")
    image = torch.rand(1, 1, 76, 70)
    for tile_size in (None, tile):
        inferer = OverlapTileInferer(tile_size=tile_size)
        torch.testing.assert_close(inferer(image, scripted), inferer(image, network), atol=1e-5, rtol=1e-4)


def test_any_callable_with_a_geometry():
    geometry = ValidGeometry(2)
    image = positions(30, 41)
    inferer = OverlapTileInferer(geometry=geometry)
    assert torch.equal(inferer(image, lambda x: Shift(geometry)(x)), image)


def test_bf16_is_close_and_comes_back_as_fp32():
    network = unet()
    image = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    half = OverlapTileInferer(precision="bf16")(image, network)
    full = OverlapTileInferer(precision="fp32")(image, network)
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    assert (half - full).abs().max() < 0.1 * full.std()


def test_less_memory_smaller_tiles():
    network = UNet(2, 1, 2, base_channels=8).eval()
    areas = []
    for bound in ("2 GiB", "100 MiB", "40 MiB"):
        inferer = OverlapTileInferer(max_memory=bound)
        areas.append(np.prod(inferer.choose_tile((2048, 2048), 1, network)))
    assert areas[0] == 2236**2
    assert areas[0] > areas[1] > areas[2]


@pytest.mark.parametrize(("depth", "thin", "wide"), [(4, (300, 4), (300, 40)), (3, (20, 20, 4), (20, 20, 20))])
def test_a_prepared_tile_that_cannot_cover_the_next_image_is_not_kept(depth, thin, wide):
    network = UNet(len(thin), 1, 2, base_channels=2, depth=depth).eval()
    inferer = OverlapTileInferer(max_memory="1 GiB")
    prepared = inferer.choose_tile(thin, 1, network)
    assert inferer.choose_tile(wide, 1, network, prepared=prepared) == inferer.choose_tile(wide, 1, network)
    assert inferer.choose_tile(thin, 1, network, prepared=prepared) == prepared


def test_the_logits_of_a_whole_stack_count():
    network = UNet(2, 1, 2, base_channels=8).eval()
    inferer = OverlapTileInferer(max_memory="150 MiB")
    alone = np.prod(inferer.choose_tile((1024, 1024), 1, network))
    assert np.prod(inferer.choose_tile((1024, 1024), 1, network, images=10)) < alone


def test_not_enough_memory_for_the_smallest_tile():
    network = UNet(2, 1, 2, base_channels=8).eval()
    with pytest.raises(
        MemoryError, match=r"max_memory 1 MiB is not enough.*smallest tile, \(204, 204\), needs \d+ MiB"
    ):
        OverlapTileInferer(max_memory="1 MiB")(torch.zeros(1, 1, 300, 300), network)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tta": "d8"}, "tta must be one of none, paper7, d4, got 'd8'"),
        ({"precision": "fp8"}, "precision must be one of auto, fp32, bf16"),
        ({"max_memory": "lots"}, "max_memory must be a number of bytes or a text like '1.5 GiB'"),
        ({"max_memory": -3}, "max_memory must be above 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        OverlapTileInferer(**arguments)


def test_bad_calls():
    network = unet()
    with pytest.raises(ValueError, match=r"tile_size 50 px.*nearest are 48 and 52"):
        OverlapTileInferer(tile_size=50)(torch.zeros(1, 1, 30, 30), network)
    with pytest.raises(ValueError, match=r"3 spatial axes.*needs stack_axis"):
        OverlapTileInferer()(torch.zeros(1, 1, 30, 30, 4), network)
    with pytest.raises(ValueError, match=r"has no geometry: pass geometry=.*PaddedGeometry\(stride\) or WindowG"):
        OverlapTileInferer()(torch.zeros(1, 1, 30, 30), nn.Conv2d(1, 2, 3))
    padded = nn.Conv2d(1, 2, 3, padding=1)
    with pytest.raises(ValueError, match="is that another network's geometry, or another padding's"):
        OverlapTileInferer(geometry=ValidGeometry(2))(torch.zeros(1, 1, 30, 30), padded)


def padded_unet(dtype=torch.float32, depth=2, spatial_dims=2) -> UNet:
    torch.manual_seed(0)
    return UNet(spatial_dims, 1, 2, base_channels=3, depth=depth, padding="same").to(dtype).eval()


@settings(deadline=None, max_examples=30)
@given(size=sizes_2d, depth=st.integers(1, 4))
def test_a_padded_network_sees_the_whole_image_mirrored_to_the_next_size(size, depth):
    network = padded_unet(torch.float64, depth)
    image = torch.randn(2, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    beyond = [(0, -n % 2**depth) for n in size]
    mirrored = torch.from_numpy(np.pad(image.numpy(), [(0, 0), (0, 0), *beyond], mode="reflect"))
    with torch.no_grad():
        expected = network(mirrored)[..., : size[0], : size[1]]
    torch.testing.assert_close(OverlapTileInferer()(image, network), expected, rtol=0, atol=1e-12)


def test_tiles_of_a_padded_network_would_not_be_one_pass_and_are_refused():
    network = padded_unet()
    image = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, tile = network(image), network(image[..., 32:96, 32:96])
    inside = whole[..., 32:96, 32:96]
    margin = ValidGeometry(2).margin + ValidGeometry(2).step
    middle = (..., slice(margin, -margin), slice(margin, -margin))
    assert (inside - tile)[middle].abs().max() < 1e-4 * whole.std()
    assert (inside - tile).abs().max() > 0.1 * whole.std()
    with pytest.raises(ValueError, match=r"tile_size 64 px is less than the image's 128 px.*would show as seams"):
        OverlapTileInferer(tile_size=64)(image, network)
    with pytest.raises(ValueError, match=r"tile_size 130 px.*multiples of 4; the nearest are 128 and 132"):
        OverlapTileInferer(tile_size=130)(image, network)
    torch.testing.assert_close(OverlapTileInferer(tile_size=128)(image, network), whole)


def test_a_padded_network_that_needs_more_memory_is_not_tiled():
    network = padded_unet()
    inferer = OverlapTileInferer(max_memory="2 MiB")
    assert inferer.choose_tile((30, 61), 1, network) == (32, 64)
    with pytest.raises(
        MemoryError,
        match=r"300, 300.*tile, \(300, 300\), needs \d+ MiB; a padded network cannot be tiled without seams",
    ):
        inferer(torch.zeros(1, 1, 300, 300), network)


@pytest.mark.parametrize("wrap", [torch.jit.script, prepare_network])
def test_padding_is_seen_through_wrappers(wrap):
    network = padded_unet()
    image = torch.rand(1, 1, 21, 30)
    torch.testing.assert_close(OverlapTileInferer()(image, wrap(network)), OverlapTileInferer()(image, network))
    with pytest.raises(ValueError, match="would show as seams"):
        OverlapTileInferer(tile_size=20)(image, wrap(network))


def test_a_padded_convolution_takes_any_size_when_its_geometry_is_given():
    inferer = OverlapTileInferer(geometry=PaddedGeometry(1))
    assert inferer(torch.zeros(1, 1, 20, 21), nn.Conv2d(1, 2, 3, padding="same")).shape == (1, 2, 20, 21)


def test_averaging_and_stacks_of_a_padded_network():
    network = padded_unet(torch.float64)
    stack = torch.randn(1, 1, 30, 18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inferer = OverlapTileInferer(tta="d4", stack_axis=-1)
    found = inferer(stack, network)
    turned = torch.rot90(inferer(torch.rot90(stack, 1, (2, 3)), network), -1, (2, 3))
    torch.testing.assert_close(found, turned, rtol=0, atol=1e-12)
    for i in range(3):
        torch.testing.assert_close(found[..., i], inferer(stack[..., i], network), rtol=0, atol=1e-12)
