"""What holds for every network with same padding: sizes, scripting, folding, gradients, learning, errors."""

import pytest
import torch
from torch import nn

from bundle.geometry import PaddedGeometry
from bundle.inference.overlap_tile import OverlapTileInferer
from tests.networks.peers import PEERS, peer

STEPS = {"dcn": 8, "dcn without F3": 4, "fcn32s": 32, "fcn16s": 32, "fcn8s": 32, "multilevel": 16} | {
    "multilevel of two": 4,
    "fpn": 16,
}


@pytest.mark.parametrize("name", PEERS)
def test_as_much_comes_out_as_goes_in(name: str) -> None:
    network = peer(name, in_channels=3, out_channels=4)
    step = STEPS[name]
    assert network.geometry == PaddedGeometry(step)
    for size in ((step, 2 * step), (3 * step, step)):
        assert network(torch.zeros(2, 3, *size)).shape == (2, 4, *size)


@pytest.mark.parametrize("name", ["dcn", "fcn8s", "fpn", "multilevel"])
def test_in_3d(name: str) -> None:
    network = peer(name, spatial_dims=3, in_channels=1, base_channels=1)
    step = STEPS[name]
    assert network(torch.zeros(1, 1, step, 2 * step, step)).shape == (1, 2, step, 2 * step, step)


@pytest.mark.parametrize("name", PEERS)
def test_sizes_that_are_refused_name_the_nearest(name: str) -> None:
    network, step = peer(name), STEPS[name]
    with pytest.raises(ValueError, match="with same padding") as expected:
        network.geometry.require_valid(3 * step + 1)
    with pytest.raises(ValueError, match=f"^{expected.value}$"):
        network(torch.zeros(1, 1, step, 3 * step + 1))
    with pytest.raises(ValueError, match=f"nearest are {step} and {2 * step}"):
        network(torch.zeros(1, 1, step - 1, step))


@pytest.mark.parametrize("name", PEERS)
def test_scripted_equals_eager_and_the_inferer_takes_it(name: str) -> None:
    network = peer(name, norm="batch")
    scripted = torch.jit.script(network)
    image = torch.randn(1, 1, STEPS[name] + 3, 40)
    with torch.no_grad():
        expected = OverlapTileInferer()(image, network)
        torch.testing.assert_close(OverlapTileInferer()(image, scripted), expected)
    assert expected.shape == (1, 2, *image.shape[2:])
    with pytest.raises(torch.jit.Error, match=f"valid sizes are multiples of {STEPS[name]}"):
        scripted(torch.zeros(1, 1, STEPS[name] + 1, STEPS[name]))


@pytest.mark.parametrize("name", PEERS)
def test_folding_batch_norm_changes_nothing_but_the_layers(name: str) -> None:
    network = peer(name, norm="batch")
    folded = network.fold_batch_norm()
    image = torch.randn(1, 1, 2 * STEPS[name], 2 * STEPS[name])
    torch.testing.assert_close(folded(image), network(image), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", PEERS)
def test_every_weight_takes_part(name: str) -> None:
    """A weight without a gradient would be one that no output depends on, at which training on several GPUs stops."""
    network = peer(name, base_channels=4, dropout=0.0).train()
    image = torch.randn(2, 1, 2 * STEPS[name], 2 * STEPS[name])
    network(image).square().sum().backward()
    for parameter, weight in network.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, parameter
            assert weight.grad.abs().sum() > 0, parameter
        else:
            assert parameter == "last_up.weight"


@pytest.mark.parametrize("name", PEERS)
def test_dropout_acts_in_training_only(name: str) -> None:
    network = peer(name, dropout=0.5)
    image = torch.randn(1, 1, 2 * STEPS[name], 2 * STEPS[name])
    assert torch.equal(network(image), network(image))
    network.train()
    assert not torch.equal(network(image), network(image))


@pytest.mark.parametrize("name", ["dcn", "fcn32s", "fcn16s", "fcn8s", "fpn", "multilevel"])
def test_learns_one_image_by_heart(name: str) -> None:
    """Squares of 32 px, which the coarsest of them resolves; none of their borders is where an image's end is."""
    network = peer(name, base_channels=4, dropout=0.0, norm="batch").train()
    torch.manual_seed(0)
    squares = torch.rand(1, 1, 4, 4).gt(0.5).repeat_interleave(32, 2).repeat_interleave(32, 3)
    assert squares.any()
    assert not squares.all()
    image = squares + 0.3 * torch.randn(squares.shape)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(image), squares[:, 0].long()).backward()
        optimizer.step()
    assert (network(image).argmax(1) == squares[:, 0]).float().mean() > 0.95


@pytest.mark.parametrize("name", ["dcn", "fcn8s", "fpn", "multilevel"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1"),
        ({"out_channels": True}, "out_channels must be an integer of at least 1"),
        ({"base_channels": 2.5}, "base_channels must be an integer"),
        ({"dropout": "0.5"}, "dropout must be a number in .* got '0.5'"),
        ({"spatial_dims": 2.0}, "spatial_dims must be 2 or 3, got 2.0"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\)"),
        ({"norm": "bath"}, "norm must be None or 'batch', got 'bath'"),
    ],
)
def test_bad_arguments(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        peer(name, **arguments)


@pytest.mark.parametrize("name", ["dcn", "fcn8s", "fpn", "multilevel"])
def test_bad_inputs(name: str) -> None:
    network = peer(name)
    with pytest.raises(ValueError, match="in_channels = 1 channels, got 3"):
        network(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="must have 4 axes"):
        network(torch.zeros(1, 32, 32))
