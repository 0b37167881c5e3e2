"""Probabilities block by block are to the bit those of the whole image in memory, with the same tiles."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bundle.data.channel_names import StatedChannels
from bundle.data.channels import Channels
from bundle.data.context import StackContextd
from bundle.data.errors import ImageError
from bundle.data.stores import LazyImage
from bundle.geometry import BlockPlan, ValidGeometry
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.probability import as_read, as_stored
from bundle.large.gray import GrayValues, StandardizedImage, measure
from bundle.large.probability import ProbabilityBlocks
from bundle.large.pyramid import halved
from bundle.networks import UNet
from tests.inference.test_overlap_tile import GridShift, Shift
from transforms import Standardize
from transforms.intensity.moments import Moments


class Stored:
    """An array as a level of a store: (C, slices, y, x)."""

    axes = "CZYX"

    def __init__(self, array: np.ndarray, parts: tuple[int, int] = (16, 11)) -> None:
        self.array, self.shape, self.dtype, self.parts = array, array.shape, array.dtype, (1, 1, *parts)

    def read(self, region):
        return self.array[region]

    def identity(self):
        return {}


def lazy(array: np.ndarray) -> LazyImage:
    """Of (C, x, y[, slices])."""
    stored = array.transpose(0, 2, 1)[:, None] if array.ndim == 3 else array.transpose(0, 3, 2, 1)
    return LazyImage("a.zarr", Stored(stored), StatedChannels(len(array)))


def by_blocks(source, size, geometry, tile, tiles, run, folder, slices=None, seed=0, dtype="float32", **turned):
    plan = geometry.plan(size, tile)
    blocks = BlockPlan(plan, [n * step for n, step in zip(tiles, BlockPlan(plan).steps, strict=True)])
    shape = tuple(reversed(size)) if slices is None else (slices, *reversed(size))
    chunks = tuple(reversed(blocks.chunk_sizes)) if slices is None else (1, *reversed(blocks.chunk_sizes))
    array = zarr.create_array(folder / "a.zarr", shape=shape, chunks=chunks, dtype=dtype, overwrite=True)
    array[:] = 77
    work = ProbabilityBlocks(source, blocks, slices, run, torch.device("cpu"), array, dtype, **turned)
    numbers = list(range(len(work)))
    random.Random(seed).shuffle(numbers)
    for number in numbers:
        work(number)
    return np.asarray(array[:]).T


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("arrays")


sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))
counts = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=25)
@given(size=sizes, extra=counts, tiles=counts, depth=st.integers(1, 3), seed=st.integers(0, 9))
def test_pixels_that_encode_their_position_come_back_in_place(folder, size, extra, tiles, depth, seed):
    geometry = ValidGeometry(depth)
    tile = tuple(geometry.input_size(geometry.step) + geometry.step * k for k in extra)
    image = np.arange(float(np.prod(size)), dtype=np.float32).reshape(1, *size) + 1
    one = Moments(2, 0, 2 << 298, -1.0, 1.0)  # of mean 0 and deviation 1: standardisation changes nothing
    source = StandardizedImage(lazy(image), Channels("all", 1), GrayValues([[one]], False))
    for network in (Shift(geometry), GridShift(geometry)):
        found = by_blocks(source, size, geometry, tile, tiles, network, folder, seed=seed)
        expected = OverlapTileInferer(tile)(torch.from_numpy(image)[None], network)[0, 0].numpy()
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    torch.manual_seed(0)
    return UNet(2, 1, 2, base_channels=3, depth=2).eval()


@settings(max_examples=25)
@given(
    size=sizes,
    extra=counts,
    tiles=counts,
    seed=st.integers(0, 99),
    kind=st.sampled_from(["u2", "u1", "f4", "i4"]),
    tta=st.sampled_from(["none", "d4", "paper7"]),
)
def test_a_network_gives_the_same_bits(folder, unet, size, extra, tiles, seed, kind, tta):
    """Tiles of turned images begin at other corners than the blocks do."""
    tile = tuple(unet.geometry.input_size(4) + 4 * k for k in extra)
    pixels = np.random.default_rng(seed).normal(100, 20, (1, *size)).astype(kind)
    image, channels = lazy(pixels), Channels("all", 1)
    inferer = OverlapTileInferer(tile, probability_of=1, tta=tta)
    run = inferer.runner(unet, torch.device("cpu"))
    source = StandardizedImage(image, channels, measure(image, channels, by_slice=False))
    turns = inferer.turns(unet.geometry, unet.geometry.plan(size, tile))
    assert len(turns) == {"none": 1, "d4": 8, "paper7": 7}[tta]
    options = {"turns": turns, "read": inferer.read, "seed": seed}
    found = by_blocks(source, size, unet.geometry, tile, tiles, run, folder, **options)
    expected = inferer(Standardize()(pixels.astype(np.float32))[None], unet)[0, 0].numpy()
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("select", ["all", "luminance", (2, 0)])
@pytest.mark.parametrize("gray", [False, True])
def test_channels_and_slices(folder, select, gray):
    """Each slice of a stack is standardised by itself; colours that are gray throughout count as one channel."""
    pixels = np.random.default_rng(1).integers(0, 250, (3, 41, 37, 3), np.uint8)
    if gray:
        pixels[1:] = pixels[0]
    gray_as_one = gray and select != (2, 0)
    count = 1 if select == "luminance" or (gray_as_one and select == "all") else 2 if select == (2, 0) else 3
    channels = Channels(select, count)
    torch.manual_seed(0)
    network = UNet(2, count, 2, base_channels=3, depth=2).eval()
    image = lazy(pixels)
    found_gray = measure(image, channels, by_slice=True)
    assert found_gray.equal == gray_as_one
    again = GrayValues.from_json(found_gray.as_json())
    assert again == found_gray
    inferer = OverlapTileInferer(60, probability_of=1, stack_axis=-1)
    run = inferer.runner(network, torch.device("cpu"))
    source = StandardizedImage(image, channels, again)
    found = by_blocks(source, (41, 37), network.geometry, 60, (1, 1), run, folder, slices=3)
    whole = torch.from_numpy(pixels.astype(np.float32))
    picked = Standardize()(channels.pick(whole, equal=gray_as_one))
    expected = inferer(picked[None], network)[0, 0].numpy()
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("select", "count", "channels", "said"),
    [
        ((5,), None, 3, r"a.zarr: it has no channel 5 of --channels \[5\]: its channels are 0 to 2"),
        ("luminance", None, 4, "a.zarr: it has 4 channels, luminance is of red, green and blue"),
        ("all", 2, 3, "a.zarr: it has 3 channels, the network expects 2"),
        ("all", 1, 3, "a.zarr: it has 3 channels, the network expects 1"),
    ],
)
def test_channels_that_do_not_fit_cost_no_pass_over_the_slide(select, count, channels, said):
    """Colours are known to be colours from the first part that shows one."""
    image = lazy(np.random.default_rng(0).integers(0, 9, (channels, 4096, 2048), np.uint8))
    image = replace(image, pixels=Stored(image.pixels.array, (2048, 2048)))
    read = []
    real = image.pixels.read
    image.pixels.read = lambda region: read.append(region) or real(region)
    assert len(list(image.regions())) > 1
    with pytest.raises(ImageError, match=said):
        measure(image, Channels(select, count), by_slice=False)
    assert len(read) == (count == 1)


def test_a_volume(folder):
    torch.manual_seed(0)
    network = UNet(3, 1, 2, base_channels=2, depth=1).eval()
    pixels = np.random.default_rng(1).random((1, 30, 21, 17)).astype(np.float32)
    image, channels = lazy(pixels), Channels("all", 1)
    inferer = OverlapTileInferer((24, 22, 22), probability_of=1)
    run = inferer.runner(network, torch.device("cpu"))
    source = StandardizedImage(image, channels, measure(image, channels, by_slice=False))
    found = by_blocks(source, (30, 21, 17), network.geometry, (24, 22, 22), (1, 2, 1), run, folder)
    expected = inferer(Standardize(3)(pixels)[None], network)[0, 0].numpy()
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("tta", ["none", "d4"])
def test_neighbouring_slices(folder, tta, robust):
    pixels = np.random.default_rng(1).normal(0, 9, (1, 41, 37, 4)).astype(np.float32)
    pixels[0, 3, 5] = [900, -900, 1e6, 0]  # hot pixels
    torch.manual_seed(0)
    network = UNet(2, 5, 2, base_channels=3, depth=2).eval()
    image, channels = lazy(pixels), Channels("all", 1)
    inferer = OverlapTileInferer(60, probability_of=1, stack_axis=-1, tta=tta)
    gray = GrayValues.from_json(json.loads(json.dumps(measure(image, channels, True, robust).as_json())))
    source = StandardizedImage(image, channels, gray, context_slices=2)
    turns = inferer.turns(network.geometry, network.geometry.plan((41, 37), 60))
    run = inferer.runner(network, torch.device("cpu"))
    options = {"slices": 4, "turns": turns, "read": inferer.read}
    found = by_blocks(source, (41, 37), network.geometry, 60, (1, 1), run, folder, **options)
    shown = StackContextd("image", 2)({"image": Standardize(robust=robust)(pixels)})["image"]
    expected = inferer(shown[None], network)[0, 0].numpy()
    assert found.tobytes() == expected.tobytes()


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["bytes", "words", "normal", "few", "tiny"]),
    slices=st.sampled_from([None, 1, 3]),
)
def test_robust_gray_values_are_exact(size, seed, kind, slices):
    random = np.random.default_rng(seed)
    shape = (2, *size, *([slices] if slices else []))
    pixels = {
        "bytes": lambda: random.integers(0, 256, shape),
        "words": lambda: random.integers(0, 2**16, shape),
        "normal": lambda: random.normal(0, 1, shape) * 10.0 ** random.integers(-30, 30),
        "few": lambda: random.integers(-1, 2, shape) * -0.0,
        "tiny": lambda: random.normal(0, 1, shape) * 1e-42,
    }[kind]().astype(np.float32)
    image, channels = lazy(pixels), Channels("all", 2)
    source = StandardizedImage(image, channels, measure(image, channels, True, robust=True))
    expected = Standardize(robust=True)(pixels).numpy()
    window = tuple((0, n) for n in size)
    for index in range(slices or 1):
        found = source.window(window, index if slices and slices > 1 else None)[0].numpy()
        assert found.tobytes() == np.ascontiguousarray(expected.reshape(2, *size, -1)[..., index]).tobytes()


def test_another_networks_geometry_is_refused(folder):
    source = StandardizedImage(lazy(np.ones((1, 40, 40), np.float32)), Channels(), GrayValues([[Moments()]], False))
    with pytest.raises(ValueError, match="is that another network's geometry"):
        by_blocks(source, (40, 40), ValidGeometry(1), 30, (1, 1), lambda tile: tile[..., 9:-9, 9:-9], folder)


def test_fewer_bits_are_read_back_to_the_nearest():
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    for dtype, apart in (("uint8", 1 / 510), ("float16", 2**-12), ("float32", 0)):
        stored = as_stored(values, dtype)
        assert stored.dtype == dtype
        read = as_read(stored)
        assert read.dtype == np.float32
        assert (read[0], read[-1]) == (0, 1)
        assert np.abs(read - values).max() <= apart * 1.0001
        np.testing.assert_array_equal(as_stored(read, dtype), stored)


def test_the_next_level_of_a_pyramid():
    odd = np.array([[[0, 2, 4], [4, 6, 8], [1, 1, 3]]], np.uint8)
    np.testing.assert_array_equal(halved(odd, mean=True), [[[3, 6], [1, 3]]])
    np.testing.assert_array_equal(halved(odd, mean=False), [[[0, 4], [1, 3]]])
    for dtype in (np.uint32, np.int32, np.float64):  # fp32 has fewer digits
        large = np.full((1, 2, 2), np.iinfo(np.int32).max if dtype == np.int32 else np.iinfo(np.uint32).max, dtype)
        np.testing.assert_array_equal(halved(large, mean=True), large[:, :1, :1])
    np.testing.assert_array_equal(halved(odd.astype(np.float32) / 8, mean=True), [[[0.375, 0.75], [0.125, 0.375]]])
