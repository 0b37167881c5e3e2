"""The probability of one class, in strips and tile by tile, is the softmax of the whole."""

from __future__ import annotations

import pytest
import torch

from bundle.inference import overlap_tile, probability
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.probability import class_probability
from bundle.networks import UNet


@pytest.mark.parametrize("shape", [(2, 3, 70, 33), (1, 2, 17, 9, 5)])
def test_is_the_softmax(shape, monkeypatch):
    monkeypatch.setattr(probability, "_ROWS", 16)
    logits = torch.randn(shape) * 5
    for channel in range(shape[1]):
        torch.testing.assert_close(class_probability(logits, channel), logits.softmax(1)[:, channel : channel + 1])


@pytest.mark.parametrize("tta", ["none", "d4"])
def test_of_an_image(tta):
    torch.manual_seed(0)
    network = UNet(2, 1, 3, base_channels=2, depth=2).eval()
    image = torch.rand(2, 1, 70, 53)
    logits = OverlapTileInferer(tile_size=64, tta=tta)(image, network)
    found = OverlapTileInferer(tile_size=64, tta=tta, probability_of=1)(image, network)
    torch.testing.assert_close(found, logits.softmax(1)[:, 1:2], atol=1e-6, rtol=0)


def test_a_channel_that_there_is_not():
    network = UNet(2, 1, 2, base_channels=2, depth=2).eval()
    with pytest.raises(ValueError, match=r"probability_of must be a channel 0 \.\. 1 of the network or .all., got 2"):
        OverlapTileInferer(probability_of=2)(torch.rand(1, 1, 30, 30), network)


def test_logits_count_only_where_they_are_kept():
    network = UNet(2, 1, 2, base_channels=4).eval()
    size = (1500, 1500)  # logits of 18 MB
    with pytest.raises(MemoryError, match="1500, 1500"):
        OverlapTileInferer(max_memory="16 MB").choose_tile(size, 1, network)
    assert max(OverlapTileInferer(max_memory="16 MB", probability_of=1).choose_tile(size, 1, network)) < 600


def test_without_a_bound_a_cpu_takes_no_more_than_is_useful(monkeypatch):
    monkeypatch.setattr(overlap_tile, "free_memory", lambda device: 64 * 2**30)
    network = UNet(2, 1, 2, base_channels=4).eval()
    inferer = OverlapTileInferer(probability_of=1)
    monkeypatch.setattr(overlap_tile, "_ENOUGH", 100 * 2**20)
    tile = inferer.choose_tile((2000, 2000), 1, network)
    assert tile == OverlapTileInferer(probability_of=1, max_memory="100 MiB").choose_tile((2000, 2000), 1, network)
    monkeypatch.setattr(overlap_tile, "_ENOUGH", 2**10)  # too little for any: then what is there counts
    assert inferer.choose_tile((300, 300), 1, network) == (
        OverlapTileInferer(max_memory="32 GiB").choose_tile((300, 300), 1, network)
    )


@pytest.mark.parametrize("size", ["abc", 3.5, 0, True, [300, "abc"]])
def test_a_tile_size_that_is_none(size):
    with pytest.raises(ValueError, match="tile_size must be a number of px, at least 1, or one an axis, got"):
        OverlapTileInferer(tile_size=size)
