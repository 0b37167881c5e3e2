"""The feature pyramid is what its papers say, written out map by map."""

import pytest
import torch
import torch.nn.functional as F

from tests.networks.peers import group, normalised, peer


def literal(image: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Trunk, lateral convolutions, the way down by repeated pixels, a head at each level, and the sum of its scores."""
    size, dims = image.shape[2:], image.dim() - 2
    pool, conv = {2: (F.max_pool2d, F.conv2d), 3: (F.max_pool3d, F.conv3d)}[dims]
    sides = []
    for level in range(5):
        image = group(image if level == 0 else pool(image, 2), weights, f"trunk.{level}")
        sides.append(conv(image, weights[f"laterals.{level}.weight"], weights[f"laterals.{level}.bias"]))
    above, total = None, 0
    for level in (4, 3, 2, 1, 0):
        if above is not None:
            for axis in range(2, 2 + dims):
                above = above.repeat_interleave(2, axis)
            sides[level] = sides[level] + above
        above = sides[level]
        smooth = F.pad(above, [1] * 2 * dims)
        smooth = conv(smooth, weights[f"heads.{level}.0.weight"], weights[f"heads.{level}.0.bias"])
        last = 2
        if f"heads.{level}.1.running_mean" in weights:
            smooth, last = normalised(smooth, weights, f"heads.{level}.1"), 3
        scored = conv(smooth.clamp(min=0), weights[f"heads.{level}.{last}.weight"])
        mode = {2: "bilinear", 3: "trilinear"}[dims]
        total = total + F.interpolate(scored, size=size, mode=mode, align_corners=False)
    bias = weights["heads.0.3.bias" if "heads.0.1.running_mean" in weights else "heads.0.2.bias"]
    return total + bias.view(-1, *[1] * dims)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, (32, 48)),
        ({"norm": "batch", "out_channels": 3}, (32, 16)),
        ({"pyramid_channels": 5}, (16, 16)),
        ({"spatial_dims": 3}, (16, 16, 32)),
    ],
)
def test_it_is_the_pyramid_of_the_papers(arguments: dict, size: tuple) -> None:
    network = peer("fpn", **arguments)
    torch.nn.init.normal_(network.heads[0][-1].bias)
    image = torch.randn(2, 1, *size)
    with torch.no_grad():
        torch.testing.assert_close(network(image), literal(image, network.state_dict()), rtol=1e-4, atol=1e-4)


def test_the_same_trunk_as_the_multi_level_classifier() -> None:
    fpn, other = peer("fpn"), peer("multilevel")
    shapes = [{name: w.shape for name, w in net.state_dict().items() if "trunk" in name} for net in (fpn, other)]
    assert shapes[0] == shapes[1]
    assert [lateral.out_channels for lateral in fpn.laterals] == [8] * 5


def test_bad_channels() -> None:
    with pytest.raises(ValueError, match=r"pyramid_channels must be an integer of at least 1 .* got 0"):
        peer("fpn", pyramid_channels=0)
