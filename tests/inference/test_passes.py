"""Passes whose masks can be seen, and an image turned and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from bundle.geometry import ValidGeometry
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.passes import disagreeing_passes, dropout_passes, foreground_probability, turned_passes
from bundle.networks import UNet


def unet(dropout=0.5, seed=0, **options):
    torch.manual_seed(seed)
    network = UNet(2, 1, 2, base_channels=3, depth=2, norm="batch", dropout=dropout, **options)
    for _ in range(3):  # running statistics unlike the initial ones, and unlike those of any image
        network(torch.randn(4, 1, 44, 44) * 2 + 1)
    return network.eval()


class TileCoin(nn.Module):
    """A 'network' that tosses one coin a call: logit 0 or 2 for all of the tile."""

    geometry = ValidGeometry(1)

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        m = self.geometry.margin
        coin = self.dropout(torch.ones(1, 1, 1, 1))
        return torch.cat([torch.zeros_like(x), coin.expand_as(x)], dim=1)[..., m:-m, m:-m]


IMAGE = torch.randn(1, 50, 70, generator=torch.Generator().manual_seed(3))


class TestPasses:
    @pytest.mark.parametrize("size", [(1, 1), (50, 70), (131, 45)])
    def test_any_size_and_every_pass_another_network(self, size):
        image = torch.randn(1, *size, generator=torch.Generator().manual_seed(1))
        passes = dropout_passes(unet(), OverlapTileInferer(64), image, passes=3)
        assert passes.shape == (3, *size)
        assert ((passes > 0) & (passes < 1)).all()
        assert len({p.numpy().tobytes() for p in passes}) == 3

    def test_the_seed_decides_and_the_random_numbers_of_others_go_on(self):
        network, inferer = unet(), OverlapTileInferer(64)
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        first = dropout_passes(network, inferer, IMAGE, seed=5)
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(dropout_passes(network, inferer, IMAGE, seed=5), first)
        assert not torch.equal(dropout_passes(network, inferer, IMAGE, seed=6), first)
        assert torch.equal(dropout_passes(network, inferer, IMAGE, passes=2, seed=5), first[:2])

    def test_only_dropout_is_active_and_the_network_stays_as_it_was(self):
        network, inferer = unet(), OverlapTileInferer(64)
        network.train()
        network.down[0].eval()
        modes = [module.training for module in network.modules()]
        state = {name: value.clone() for name, value in network.state_dict().items()}
        dropout_passes(network, inferer, IMAGE)
        for layer in network.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 1e-30  # active, and never leaves anything out: what else were active would show itself
        passes = dropout_passes(network, inferer, IMAGE, passes=2)
        assert [module.training for module in network.modules()] == modes
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        network.eval()
        with torch.no_grad():
            expected = torch.softmax(inferer(IMAGE[None], network)[0], dim=0)[1]
        for p in passes:
            torch.testing.assert_close(p, expected, rtol=0, atol=1e-6)

    def test_modes_are_restored_after_an_error(self):
        network = unet().train()
        with pytest.raises(ValueError, match="spatial axes"):
            dropout_passes(network, OverlapTileInferer(64), torch.rand(1, 9, 9, 9))
        assert all(module.training for module in network.modules())

    def test_every_tile_draws_its_own_mask(self):
        tile_size = TileCoin.geometry.input_size(8)
        plan = list(TileCoin.geometry.plan((64, 64), tile_size))
        passes = dropout_passes(TileCoin(), OverlapTileInferer(tile_size), torch.zeros(1, 64, 64), passes=8)
        torch.testing.assert_close(torch.unique(passes), torch.sigmoid(torch.tensor([0.0, 2.0])))
        coins = torch.stack([passes[(slice(None), *(slice(*span) for span in tile.output))][:, 0, 0] for tile in plan])
        for tile, tossed in zip(plan, coins, strict=True):
            here = passes[(slice(None), *(slice(*span) for span in tile.output))]
            assert (here == tossed[:, None, None]).all()
        assert all(len(set(tossed.tolist())) == 2 for tossed in coins.T)  # tiles of one pass differ
        assert len({tuple(tossed.tolist()) for tossed in coins.T}) == 8  # and passes do

    def test_the_mean_of_many_passes_does_not_depend_on_the_tile(self):
        network, image = unet(dropout=0.2), IMAGE[:, :12, :12]
        small, large = (dropout_passes(network, OverlapTileInferer(n), image, passes=100) for n in (44, 52))
        assert not torch.equal(small, large)
        assert (small.mean(0) - large.mean(0)).abs().max() < 5 * large.std(0).max() * math.sqrt(2 / 100)

    def test_without_dropout_in_evaluation_mode(self):
        network, inferer = unet(), OverlapTileInferer(64)
        network.train()
        image = MetaTensor(IMAGE, meta={"filename_or_obj": "a.png"})
        p = foreground_probability(network, inferer, image)
        assert network.training
        assert type(p) is torch.Tensor
        assert not p.requires_grad
        with torch.no_grad():
            logits = inferer(IMAGE[None], network.eval())[0]
        torch.testing.assert_close(p, torch.sigmoid(logits[1] - logits[0]))

    def test_turned_passes_are_the_image_turned_and_mirrored_and_back(self):
        network, inferer = unet(dropout=0.0), OverlapTileInferer(64)
        network.train()
        found = turned_passes(network, inferer, IMAGE)
        assert network.training
        image = IMAGE[0].numpy()
        for number, one in enumerate(found):
            mirrored, quarters = number >= 4, number % 4
            given = np.rot90(image[::-1] if mirrored else image, quarters)
            back = np.rot90(foreground_probability(network, inferer, torch.tensor(given[None].copy())), -quarters)
            np.testing.assert_allclose(one, back[::-1] if mirrored else back, atol=1e-6)
        assert len({one.numpy().tobytes() for one in found}) == 8
        assert torch.equal(turned_passes(network, inferer, IMAGE, passes=3), found[:3])

    def test_a_network_without_dropout_is_asked_by_turning_the_image(self):
        inferer = OverlapTileInferer(64)
        without, with_dropout = unet(dropout=0.0), unet()
        assert torch.equal(disagreeing_passes(without, inferer, IMAGE, 20), turned_passes(without, inferer, IMAGE))
        found = disagreeing_passes(with_dropout, inferer, IMAGE, 3, seed=4)
        assert torch.equal(found, dropout_passes(with_dropout, inferer, IMAGE, 3, seed=4))

    def test_bad_input(self):
        inferer = OverlapTileInferer(64)
        for passes_of in (dropout_passes, turned_passes, disagreeing_passes):
            with pytest.raises(ValueError, match=r"passes must be at least 2 .* got 1"):
                passes_of(unet(), inferer, IMAGE, passes=1)
        with pytest.raises(ValueError, match=r"UNet has no dropout layer.*network_def#dropout"):
            dropout_passes(unet(dropout=0.0), inferer, IMAGE)
        one_class = UNet(2, 1, 1, base_channels=2, depth=1)
        with pytest.raises(ValueError, match="at least 2 classes, background first, got 1"):
            foreground_probability(one_class, inferer, IMAGE)


def test_an_inferer_that_gives_the_probability_already():
    torch.manual_seed(0)
    network, image = UNet(2, 1, 2, base_channels=2, depth=2).eval(), torch.rand(1, 50, 40)
    expected = foreground_probability(network, OverlapTileInferer(), image)
    for channel in (1, "all"):
        found = foreground_probability(network, OverlapTileInferer(probability_of=channel), image)
        torch.testing.assert_close(found, expected)
