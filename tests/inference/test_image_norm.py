"""Statistics of the image: against a network in training mode over the whole of it, at every size of a tile."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bundle.geometry import ValidGeometry
from bundle.inference import image_norm
from bundle.inference.backends import prepare_network
from bundle.inference.backends.calibration import calibrated
from bundle.inference.backends.choice import choose_backend
from bundle.inference.cutting import cut
from bundle.inference.image_norm import norm_by_image, windows_of
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.networks import DCN, FCN, UNet


def unet(norm="image", dims=2, seed=0):
    """With running statistics unlike those of any image."""
    torch.manual_seed(seed)
    network = UNet(dims, 1, 2, base_channels=3, depth=2, norm=norm, dropout=0.0)
    for _ in range(2):
        network(torch.randn(1, 1, *[60] * dims) * 5 + 3)
    return network.eval()


def image(*size, seed=1):
    drawn = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(seed))
    return drawn * torch.linspace(0.5, 3, size[0]).reshape(-1, *[1] * (len(size) - 1)) + 2


def whole(network, x):
    """One pass in training mode over the mirrored image: each layer normalised by what it sees there."""
    trained = copy.deepcopy(network).train()
    axes = trained.geometry.axes(x.dim() - 2)
    spans = [(-axis.margin, axis.input_size(n) - axis.margin) for axis, n in zip(axes, x.shape[2:], strict=True)]
    found = trained(cut(x, spans))
    return found[(..., *(slice(n) for n in x.shape[2:]))].detach()


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("size", [(150, 170), (70, 41), (1, 1)])
def test_any_tile_gives_what_a_training_step_over_the_whole_image_sees(size):
    network, x = unet(), image(*size)
    before, expected = state(network), whole(unet(), x)
    for tile in (60, 100, 244):
        found = OverlapTileInferer(tile)(x, network)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found, OverlapTileInferer(60)(x, network), rtol=0, atol=1e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    other = unet("batch")
    other.load_state_dict(before, strict=False)
    assert (OverlapTileInferer(60)(x, other) - expected).abs().max() > 0.05  # running statistics are another network


def test_tiles_in_fp64_are_one_pass():
    network, x = unet().double(), image(150, 131).double()
    one, *others = (OverlapTileInferer(tile)(x, network) for tile in (60, 84, 100, 252))
    for other in others:
        torch.testing.assert_close(other, one, rtol=0, atol=1e-11)


def test_volumes():
    network, x = unet(dims=3), image(20, 14, 9)
    torch.testing.assert_close(OverlapTileInferer(60)(x, network), whole(unet(dims=3), x), rtol=1e-3, atol=1e-3)


def test_images_of_a_batch_and_slices_of_a_stack_are_each_by_itself():
    network, images = unet(), [image(50, 70, seed=seed) * seed for seed in (1, 2, 3)]
    inferer = OverlapTileInferer(60, stack_axis=-1)
    alone = torch.cat([inferer(x, network) for x in images])
    assert torch.equal(inferer(torch.cat(images), network), alone)
    assert torch.equal(inferer(torch.stack(images, dim=-1).squeeze(0)[None], network)[0].movedim(-1, 0), alone)


def test_turned_images_have_the_statistics_of_the_image():
    network, x = unet(), image(50, 70)
    found = OverlapTileInferer(100, tta="d4")(x, network)
    fixed, seen = unet("batch"), OverlapTileInferer(100)
    fixed.load_state_dict(network.state_dict(), strict=False)
    seen.normalise(network, (50, 70), lambda spans: cut(x, spans))
    fixed.load_state_dict(network.state_dict(), strict=False)
    torch.testing.assert_close(found, OverlapTileInferer(100, tta="d4")(x, fixed))


def test_windows_are_spread_over_a_large_image_and_their_pixels_count_together(monkeypatch):
    monkeypatch.setitem(image_norm._SIDE, 2, 40)
    geometry = ValidGeometry(1)
    spans = windows_of((500, 30), geometry)
    assert [along[0] for along, _ in spans] == [-8, 222, 452]
    assert {along for _, along in spans} == {(-8, -8 + geometry.input_size(30))}

    class First(nn.Module):
        """Its one layer sees the windows themselves."""

        def __init__(self):
            super().__init__()
            self.norm_by_image, self.geometry, self.norm = True, geometry, nn.BatchNorm2d(1)

        def forward(self, x):
            return F.pad(self.norm(x), [-8] * 4)

    network, x = First().eval(), image(500, 30)
    OverlapTileInferer(56).normalise(network, (500, 30), lambda spans: cut(x, spans))
    pixels = torch.cat([cut(x, each).flatten() for each in spans]).double()
    assert float(network.norm.running_mean) == pytest.approx(float(pixels.mean()), rel=1e-5)
    assert float(network.norm.running_var) == pytest.approx(float(pixels.var(correction=0)), rel=1e-5)


def test_an_error_leaves_the_network_as_it_was():
    network = unet()
    before = state(network)
    with pytest.raises(ValueError, match="tile_size"):
        OverlapTileInferer(61)(image(50, 70), network)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_an_image_of_one_value_has_numbers():
    assert torch.isfinite(OverlapTileInferer(60)(torch.full((1, 1, 40, 40), 7.0), unet())).all()


def test_backends():
    network, images = unet(), [image(50, 70, seed=seed) * seed for seed in (1, 2)]
    inferer = OverlapTileInferer(100)
    expected = [inferer(x, network) for x in images]
    assert (expected[0] - expected[1]).abs().max() > 0.01
    for backend in ("eager", "openvino"):
        if backend == "openvino":
            pytest.importorskip("openvino")
        predictor = prepare_network(network, backend)
        assert norm_by_image(predictor)
        for x, one in zip(images, expected, strict=True):
            torch.testing.assert_close(inferer(x, predictor), one, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="backend compile prepares a network for many images"):
        prepare_network(network, "compile")
    with pytest.raises(ValueError, match="there is no int8 of it"):
        calibrated(network, [images[0]])


def test_a_network_that_is_prepared_for_each_image_pays_later(caplog):
    pytest.importorskip("openvino")
    wide = {norm: UNet(2, 1, 2, base_channels=32, norm=norm).eval() for norm in ("batch", "image")}
    many = [(512, 512)] * 40
    assert choose_backend("auto", wide["batch"], "cpu", many) == "openvino"
    assert choose_backend("auto", wide["image"], "cpu", many) == "eager"
    assert choose_backend("auto", wide["image"], "cpu", [(20000, 20000)]) == "openvino"
    assert choose_backend("auto", wide["image"], "cpu", [(2000, 2000, 100)]) == "eager"


@pytest.mark.parametrize("network", [DCN, FCN])
def test_other_networks_take_it(network):
    made = network(2, 1, 2, base_channels=2, norm="image").eval()
    assert made.norm_by_image
    x = image(64, 96)
    found = OverlapTileInferer()(x, made)
    trained = copy.deepcopy(made).train()
    for module in trained.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    size = [made.geometry.input_sizes((64, 96))[axis] for axis in (0, 1)]
    expected = trained(cut(x, [(0, n) for n in size]))[..., :64, :96].detach()
    np.testing.assert_allclose(found, expected, atol=2e-3)
