"""The padded control: the same weights as the valid network, no margin, and told apart by its checkpoint."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bundle.geometry import PaddedGeometry
from bundle.model import TrainedNetwork, checkpoints
from bundle.model.architecture import unet_arguments
from bundle.networks import UNet

ARGUMENTS = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "base_channels": 3, "depth": 2}


def padded(**arguments) -> UNet:
    torch.manual_seed(0)
    network = UNet(**(ARGUMENTS | {"padding": "same"} | arguments))
    n = 4 * network.step
    for _ in range(3):  # running statistics unlike the initial ones, if there are any
        network(torch.randn(2, 1, *[n] * network.spatial_dims) * 3 + 1)
    return network.eval()


def literal(image: torch.Tensor, weights: dict[str, torch.Tensor], depth: int) -> torch.Tensor:
    """The network written out layer by layer: zeros are put around each map, then a valid convolution follows."""
    dims = image.dim() - 2
    conv, up = ((F.conv2d, F.conv_transpose2d), (F.conv3d, F.conv_transpose3d))[dims - 2]
    pool = (F.max_pool2d, F.max_pool3d)[dims - 2]

    def block(x: torch.Tensor, name: str) -> torch.Tensor:
        normalised = f"{name}.1.running_mean" in weights
        for first in (0, 3) if normalised else (0, 2):
            x = conv(F.pad(x, [1, 1] * dims), weights[f"{name}.{first}.weight"], weights[f"{name}.{first}.bias"])
            if normalised:
                norm = f"{name}.{first + 1}"
                column = [weights[f"{norm}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
                mean, variance, scale, shift = (values.view(-1, *[1] * dims) for values in column)
                x = (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift
            x = x.clamp(min=0)
        return x

    skips = []
    for level in range(depth):
        image = block(image, f"down.{level}")
        skips.append(image)
        image = pool(image, 2)
    image = block(image, f"down.{depth}")
    for level in range(depth):
        risen = up(image, weights[f"up.{level}.weight"], weights[f"up.{level}.bias"], stride=2)
        image = block(torch.cat([risen, skips[depth - 1 - level]], dim=1), f"merge.{level}")
    return conv(image, weights["classify.weight"], weights["classify.bias"])


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, (20, 32)),
        ({"depth": 4}, (16, 48)),
        ({"norm": "batch"}, (24, 20)),
        ({"spatial_dims": 3, "depth": 1}, (6, 8, 2)),
    ],
)
def test_it_is_the_network_written_out(arguments, size):
    network = padded(**arguments)
    image = torch.randn(2, 1, *size)
    with torch.no_grad():
        found = network(image)
    assert found.shape == (2, 2, *size)
    torch.testing.assert_close(found, literal(image, network.state_dict(), network.depth), rtol=1e-4, atol=1e-5)


def test_weights_are_those_of_the_valid_network():
    same, valid = padded(norm="batch"), UNet(**ARGUMENTS, norm="batch")
    assert {name: p.shape for name, p in same.named_parameters()} == {
        name: p.shape for name, p in valid.named_parameters()
    }
    assert set(same.state_dict()) - set(valid.state_dict()) == {"same_padding"}
    assert set(valid.state_dict()) <= set(same.state_dict())
    paper = UNet(2, in_channels=1, out_channels=2, padding="same")
    assert sum(p.numel() for p in paper.parameters()) == 31_030_658


def test_where_the_zeros_do_not_reach_it_is_the_valid_network():
    same, valid = padded(), UNet(**ARGUMENTS).eval()
    valid.load_state_dict({name: t for name, t in same.state_dict().items() if name != "same_padding"})
    image = torch.randn(1, 1, 80, 80)
    with torch.no_grad():
        # two px in: there the pooling grid of both lies in the same place
        inner, whole = valid(image[..., 2:78, 2:78]), same(image)
    start = 2 + valid.geometry.margin
    torch.testing.assert_close(whole[..., start : 80 - start, start : 80 - start], inner, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_geometry_and_what_it_refuses(depth):
    network = padded(depth=depth)
    assert network.geometry == PaddedGeometry(2**depth)
    with pytest.raises(ValueError, match="with same padding") as expected:
        network.geometry.require_valid(3 * 2**depth + 1)
    with pytest.raises(ValueError, match=f"^{expected.value}$"):
        network(torch.zeros(1, 1, 2**depth, 3 * 2**depth + 1))
    with pytest.raises(ValueError, match=f"nearest are {2**depth} and {2 * 2**depth}"):
        network(torch.zeros(1, 1, 2**depth - 1, 2**depth))


def test_scripted_equals_eager():
    network = padded(norm="batch")
    scripted = torch.jit.script(network)
    image = torch.rand(1, 1, 32, 44)
    torch.testing.assert_close(scripted(image), network(image))
    assert (scripted.padding, scripted.step) == ("same", 4)
    with pytest.raises(
        torch.jit.Error, match="with same padding: valid sizes are multiples of 4; the nearest are 60 and 64"
    ):
        scripted(torch.rand(1, 1, 61, 44))


def test_folding_batch_norm_changes_nothing_but_the_layers():
    network = padded(norm="batch")
    folded = network.fold_batch_norm()
    image = torch.rand(1, 1, 28, 20)
    torch.testing.assert_close(folded(image), network(image), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_checkpoint_says_which_it_is(padding, tmp_path):
    network = UNet(**ARGUMENTS, padding=padding, norm="batch")
    checkpoints.write(tmp_path / "model.pt", network.state_dict())
    trained = TrainedNetwork(tmp_path / "model.pt")
    found = unet_arguments(trained.weights)
    assert found["padding"] == padding
    trained.load(UNet(**found))
    other = UNet(**(found | {"padding": "same" if padding == "valid" else "valid"}))
    with pytest.raises(ValueError, match=f"same_padding is .*It fits UNet.*padding='{padding}'"):
        trained.load(other)


def test_another_padding_is_refused():
    with pytest.raises(ValueError, match=r"padding must be 'valid' \(the paper's\) or 'same', got 'reflect'"):
        UNet(**ARGUMENTS, padding="reflect")
