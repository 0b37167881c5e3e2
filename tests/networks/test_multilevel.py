"""The classifier on several levels is one 1x1 convolution of up-sampled and concatenated maps."""

import pytest
import torch
import torch.nn.functional as F

from bundle.networks import MultiLevel
from tests.networks.peers import group, peer


def literal(image: torch.Tensor, weights: dict[str, torch.Tensor], levels: tuple[int, ...]) -> torch.Tensor:
    """Every map brought to the image's size, all concatenated, and one 1x1 convolution over all channels."""
    size, maps = image.shape[2:], []
    mode = {4: "bilinear", 5: "trilinear"}[image.dim()]
    pool, conv = {4: (F.max_pool2d, F.conv2d), 5: (F.max_pool3d, F.conv3d)}[image.dim()]
    for level in range(max(levels) + 1):
        image = group(image if level == 0 else pool(image, 2), weights, f"trunk.{level}")
        if level in levels:
            maps.append(F.interpolate(image, size=size, mode=mode, align_corners=False))
    classifier = torch.cat([weights[f"scores.{level}.weight"] for level in levels], dim=1)
    return conv(torch.cat(maps, dim=1), classifier, weights[f"scores.{levels[0]}.bias"])


@pytest.mark.parametrize(
    ("arguments", "levels", "size"),
    [
        ({}, (0, 1, 2, 3, 4), (32, 48)),
        ({"norm": "batch", "out_channels": 3}, (0, 1, 2, 3, 4), (32, 16)),
        ({"levels": (1, 3)}, (1, 3), (24, 16)),
        ({"levels": [0]}, (0,), (5, 7)),
        ({"spatial_dims": 3, "levels": (0, 1, 2)}, (0, 1, 2), (8, 4, 12)),
    ],
)
def test_it_classifies_concatenated_levels(arguments: dict, levels: tuple, size: tuple) -> None:
    network = peer("multilevel", **arguments)
    torch.nn.init.normal_(network.scores[str(levels[0])].bias)
    image = torch.randn(2, 1, *size)
    with torch.no_grad():
        found = network(image)
        expected = literal(image, network.state_dict(), levels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_layers_of_vgg() -> None:
    network = MultiLevel(2, in_channels=3, out_channels=2)
    channels = (64, 128, 256, 512, 512)
    assert [score.in_channels for score in network.scores.values()] == list(channels)
    assert sum(p.numel() for p in network.parameters()) == 14_714_688 + sum(channels) * 2 + 2


@pytest.mark.parametrize(
    ("levels", "nearest"),
    [
        ((), None),
        (3, None),
        (None, None),
        ("01", None),
        ((0, 5), [0, 4]),
        ((2, 1), [1, 2]),
        ((1, 1), [1]),
        ((-1, 0), [0]),
        ((0, 4.0), [0]),
        ((0, True), [0]),
    ],
)
def test_bad_levels(levels: object, nearest: list[int] | None) -> None:
    with pytest.raises(
        ValueError, match="levels must be one or more of 0, 1, 2, 3 and 4, in this order, got"
    ) as caught:
        peer("multilevel", levels=levels)
    assert str(caught.value).endswith(f"{levels!r}; the nearest are {nearest}" if nearest else f"{levels!r}")
