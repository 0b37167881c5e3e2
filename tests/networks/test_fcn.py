"""The fully convolutional networks: VGG's layers and parameters, sums of scores, bilinear up-sampling."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bundle.networks import FCN
from bundle.networks.fcn import bilinear_kernel
from tests.networks.peers import group, peer, spread


def literal(image: torch.Tensor, weights: dict[str, torch.Tensor], stride: int) -> torch.Tensor:
    """The network written out for a 2D image: scores of the poolings, each coarser one up-sampled and added."""

    def score(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    pools = []
    for level in range(5):
        image = F.max_pool2d(group(image, weights, f"trunk.{level}"), 2)
        pools.append(image)
    scores = score(group(group(image, weights, "head.0"), weights, "head.2"), "head.4")
    if stride <= 16:
        scores = spread(scores, weights["up.0.weight"], 2) + score(pools[3], "skips.0")
    if stride <= 8:
        scores = spread(scores, weights["up.1.weight"], 2) + score(pools[2], "skips.1")
    return spread(scores, weights["last_up.weight"], stride)


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_it_is_the_network_written_out(stride: int, norm: str | None) -> None:
    network = peer(f"fcn{stride}s", norm=norm)
    for up in network.up:
        nn.init.normal_(up.weight)  # as after some training, and unlike a symmetric kernel
    image = torch.randn(2, 1, 64, 96)
    with torch.no_grad():
        found = network(image)
    torch.testing.assert_close(found, literal(image, network.state_dict(), stride), rtol=1e-3, atol=1e-4)


def test_parameters_of_vgg() -> None:
    """VGG-16 without its classifier of 1000 classes, 1x1 scores of 21 classes, and the up-samplings."""
    vgg = 14_714_688 + 4096 * (7 * 7 * 512 + 1) + 4096 * (4096 + 1)
    scores = {32: 4096 * 21 + 21, 16: 512 * 21 + 21, 8: 256 * 21 + 21}
    with torch.device("meta"):
        count = {
            stride: sum(p.numel() for p in FCN(2, 3, 21, stride=stride).parameters() if p.requires_grad)
            for stride in (32, 16, 8)
        }
    assert count[32] == vgg + scores[32] == 134_346_581
    assert count[16] - count[32] == scores[16] + 21 * 21 * 4 * 4
    assert count[8] - count[16] == scores[8] + 21 * 21 * 4 * 4


@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_up_sampling_begins_as_bilinear_interpolation(stride: int) -> None:
    maps = torch.randn(1, 3, 5, 6)
    found = F.conv_transpose2d(maps, bilinear_kernel(3, 2 * stride, 2), stride=stride, padding=stride // 2)
    expected = F.interpolate(maps, scale_factor=stride, mode="bilinear", align_corners=False)
    inside = (..., slice(stride // 2, -stride // 2), slice(stride // 2, -stride // 2))
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-5)
    # beyond the outermost centres half of the taps or more are left, the same for every class
    assert found.abs().le(expected.abs() + 1e-5).all()
    assert found.abs().ge(expected.abs() / 4 - 1e-5).all()


def test_up_sampling_in_3d() -> None:
    maps = torch.randn(1, 2, 3, 4, 3)
    found = F.conv_transpose3d(maps, bilinear_kernel(2, 4, 3), stride=2, padding=1)
    expected = F.interpolate(maps, scale_factor=2, mode="trilinear", align_corners=False)
    inside = (..., *[slice(1, -1)] * 3)
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-5)


def test_the_last_up_sampling_is_fixed_and_the_others_learn() -> None:
    network = peer("fcn8s", dropout=0.0).train()
    torch.testing.assert_close(network.last_up.weight, bilinear_kernel(2, 16, 2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        network(torch.randn(1, 1, 32, 32)).square().mean().backward()
        optimizer.step()
    after = network.state_dict()
    assert torch.equal(after["last_up.weight"], before["last_up.weight"])
    assert not any(torch.equal(after[f"up.{n}.weight"], before[f"up.{n}.weight"]) for n in (0, 1))


@pytest.mark.parametrize(
    ("stride", "nearest"), [(4, 8), (31, 32), (20, 16), ("8s", 8), (31.5, 32), (8.0, 8), ([8], 8), (None, 8)]
)
def test_another_stride_names_the_nearest(stride: object, nearest: int) -> None:
    with pytest.raises(ValueError, match=f"stride must be 32, 16 or 8, got .*; the nearest is {nearest}"):
        peer("fcn8s", stride=stride)
