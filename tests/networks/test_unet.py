"""The network against the paper's numbers, its geometry, and itself after scripting and folding."""

import math

import pytest
import torch
from torch import nn

from bundle.geometry import ValidGeometry
from bundle.networks import UNet


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.fixture
def small():
    torch.manual_seed(0)
    return UNet(spatial_dims=2, in_channels=1, out_channels=2, base_channels=4, depth=2).eval()


def test_parameters_of_paper_and_release():
    assert parameters(UNet(2, in_channels=1, out_channels=2)) == 31_030_658
    assert parameters(UNet(2, in_channels=1, out_channels=2, up_relu=True, wide_last_up=True)) == 31_100_354


def test_23_convolution_layers():
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    layers = [m for m in UNet(2, 1, 2, base_channels=2).modules() if isinstance(m, kinds)]
    assert len(layers) == 23
    assert all(m.padding == (0, 0) for m in layers)


@pytest.mark.slow
def test_572_to_388():
    with torch.no_grad():
        assert UNet(2, 1, 2).eval()(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_output_sizes_are_the_geometrys(depth):
    network = UNet(2, 1, 2, base_channels=1, depth=depth).eval()
    geometry = network.geometry
    assert geometry == ValidGeometry(depth)
    for k in range(3):
        size = (geometry.smallest_input + k * geometry.step, geometry.smallest_input)
        with torch.no_grad():
            out = network(torch.zeros(1, 1, *size))
        assert tuple(out.shape[2:]) == tuple(map(geometry.output_size, size))


@pytest.mark.parametrize("depth", [1, 2])
def test_3d(depth):
    network = UNet(3, in_channels=2, out_channels=3, base_channels=2, depth=depth).eval()
    n = network.geometry.smallest_input
    with torch.no_grad():
        out = network(torch.zeros(1, 2, n, n + network.geometry.step, n))
    assert tuple(out.shape[:2]) == (1, 3)
    assert tuple(out.shape[2:]) == tuple(network.geometry.output_size(s) for s in (n, n + network.geometry.step, n))


def test_receptive_field_fits_the_margin(small):
    """With strictly positive weights every output pixel sees all of its context: no input pixel is wasted, and
    none reaches further than the margin and its place on the pooling grid allow."""
    for p in small.parameters():
        p.data.abs_().add_(0.01)
    geometry = small.geometry
    n = geometry.smallest_input + 4 * geometry.step
    reached = torch.zeros(n, dtype=torch.bool)
    for at in range(geometry.output_size(n)):
        image = torch.rand(1, 1, n, n, requires_grad=True)
        small(image)[0, 0, at, at].backward()
        touched = image.grad[0, 0].abs().sum(dim=1).nonzero()
        low, high = int(touched.min()), int(touched.max())
        assert abs(low - at) < geometry.step
        assert abs(high - (at + 2 * geometry.margin)) < geometry.step
        reached[low : high + 1] = True
    assert reached.all()


def test_initialisation_keeps_the_variance():
    torch.manual_seed(0)
    network = UNet(2, 1, 2, base_channels=32, depth=2)
    conv = network.down[1][2]
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.03)
    up = network.up[0]
    assert up.weight.std().item() == pytest.approx(math.sqrt(2 / 128), rel=0.03)
    assert all((m.bias == 0).all() for m in network.modules() if hasattr(m, "bias") and m.bias is not None)


def test_dropout_sits_at_the_end_of_the_contracting_path():
    network = UNet(2, 1, 2, base_channels=1, depth=4, dropout=0.5)
    assert [isinstance(block[-1], nn.Dropout) for block in network.down] == [False, False, False, True, True]
    assert not any(isinstance(m, nn.Dropout) for m in network.merge.modules())
    assert not any(isinstance(m, nn.Dropout) for m in UNet(2, 1, 2, base_channels=1, dropout=0).modules())


def test_dropout_acts_in_training_only(small):
    image = torch.rand(1, 1, 60, 60)
    assert torch.equal(small(image), small(image))
    small.train()
    assert not torch.equal(small(image), small(image))


@pytest.mark.parametrize(
    ("arguments", "shape", "factors"),
    [
        ({"depth": 4}, (1, 1, 204, 220), [(8, 8), (4, 4), (2, 2)]),
        ({"depth": 3, "padding": "same"}, (2, 1, 16, 24), [(4, 4), (2, 2)]),
        ({"spatial_dims": 3, "depth": 2, "flat_levels": [0, 0, 1]}, (1, 1, 44, 48, 24), [(2, 2, 1)]),
        ({"depth": 1}, (1, 1, 20, 22), []),
    ],
)
def test_coarser_levels_are_classified_in_training_at_the_pixels_of_the_logits(arguments, shape, factors):
    torch.manual_seed(0)
    common = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3, "base_channels": 2, "dropout": 0.0} | arguments
    network, plain = UNet(**common, deep_supervision=True), UNet(**common)
    plain.load_state_dict({name: t for name, t in network.state_dict().items() if name in plain.state_dict()})
    levels: list[torch.Tensor] = []
    hooks = [merge.register_forward_hook(lambda *layer: levels.append(layer[-1])) for merge in network.merge]
    image = torch.rand(shape)
    maps = network(image).unbind(1)
    assert len(maps) == len(factors) + 1
    torch.testing.assert_close(maps[0], plain(image))
    for found, level, classify, factor in zip(maps[1:], levels[:-1], network.classify_coarser, factors, strict=True):
        mode = "bilinear" if image.dim() == 4 else "trilinear"
        expected = nn.functional.interpolate(classify(level), scale_factor=factor, mode=mode)
        for axis, side in enumerate(found.shape[2:], start=2):
            assert (expected.shape[axis] - side) % 2 == 0
            expected = expected.narrow(axis, (expected.shape[axis] - side) // 2, side)
        torch.testing.assert_close(found, expected)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(torch.jit.script(network)(image), torch.stack(maps, 1))
    torch.testing.assert_close(network.eval()(image), plain.eval()(image))


def test_scripted_equals_eager(small):
    scripted = torch.jit.script(small)
    image = torch.rand(1, 1, 60, 44)
    torch.testing.assert_close(scripted(image), small(image))
    assert scripted.depth == 2
    with pytest.raises(torch.jit.Error, match="nearest are 60 and 64"):
        scripted(torch.rand(1, 1, 61, 44))


def test_folding_batch_norm_changes_nothing_but_the_layers():
    torch.manual_seed(0)
    network = UNet(2, 1, 2, base_channels=4, depth=2, norm="batch")
    for _ in range(3):  # running statistics unlike the initial ones
        network(torch.rand(2, 1, 60, 60) * 3 + 1)
    network.eval()
    folded = network.fold_batch_norm()
    image = torch.rand(1, 1, 60, 60)
    torch.testing.assert_close(folded(image), network(image), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize("norm", ["instance", "group", "layer"])
def test_norms_that_depend_on_the_tile_are_refused(norm):
    with pytest.raises(ValueError, match="depends on the content of the tile"):
        UNet(2, 1, 2, norm=norm)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"spatial_dims": 2.0}, "spatial_dims must be 2 or 3, got 2.0"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1"),
        ({"base_channels": 2.5}, "base_channels must be an integer"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\)"),
        ({"norm": "bath"}, "norm must be None or 'batch', got 'bath'"),
        ({"depth": 0}, "depth must be an integer of at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        UNet(**({"spatial_dims": 2, "in_channels": 1, "out_channels": 2} | arguments))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 61, 60), "input size 61 px is not valid at depth 2.*nearest are 60 and 64"),
        ((1, 1, 10, 60), "nearest are 44 and 48"),
        ((1, 3, 60, 60), "in_channels = 1 channels, got 3"),
        ((1, 60, 60), "must have 4 axes"),
    ],
)
def test_bad_inputs(small, shape, message):
    with pytest.raises(ValueError, match=message):
        small(torch.zeros(shape))


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_learns_one_image_by_heart(norm, padding):
    torch.manual_seed(0)
    network = UNet(2, 1, 2, base_channels=8, depth=1, dropout=0, norm=norm, padding=padding)
    image = torch.rand(1, 1, 30, 30)
    margin = network.geometry.margin
    target = (image[:, 0, margin : 30 - margin, margin : 30 - margin] > 0.5).long()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(image), target).backward()
        optimizer.step()
    assert (network(image).argmax(1) == target).float().mean() > 0.95


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_every_weight_gets_a_gradient(padding):
    torch.manual_seed(0)
    network = UNet(2, 1, 2, base_channels=3, depth=2, norm="batch", padding=padding)
    n = network.geometry.input_size(16)
    logits = network(torch.randn(2, 1, n, n))
    nn.functional.cross_entropy(logits, torch.randint(2, logits[:, 0].shape)).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        if not name.endswith("bias"):  # batch norm takes away what a bias before it adds
            assert weight.grad.abs().max() > 1e-8, name
