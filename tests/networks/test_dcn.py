"""The deep contextual network: its layers, its score maps one by one, its auxiliary outputs, its kernels."""

import pytest
import torch
import torch.nn.functional as F

from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.networks import DCN
from tests.networks.peers import group, normalised, peer, spread


def literal_scores(image: torch.Tensor, network: DCN, strides: dict[str, int]) -> dict[str, torch.Tensor]:
    """Score maps of the branches, written out layer by layer for a 2D image."""
    weights = network.state_dict()
    found = {}
    for level in range(network.depth + 1):
        image = group(image if level == 0 else F.max_pool2d(image, 2), weights, f"trunk.{level}")
        name = f"branches.F{level}"
        if f"F{level}" in strides:
            risen = spread(image, weights[f"{name}.0.weight"], strides[f"F{level}"])
            risen = risen + weights[f"{name}.0.bias"].view(-1, 1, 1)
            last = 3 if f"{name}.1.running_mean" in weights else 2
            risen = normalised(risen, weights, f"{name}.1") if last == 3 else risen
            found[f"F{level}"] = F.conv2d(
                risen.clamp(min=0), weights[f"{name}.{last}.weight"], weights[f"{name}.{last}.bias"]
            )
    return found


@pytest.mark.parametrize(
    ("arguments", "strides"),
    [
        ({}, {"F1": 2, "F2": 4, "F3": 8}),
        ({"norm": "batch"}, {"F1": 2, "F2": 4, "F3": 8}),
        ({"kernels": (2, 8, 10)}, {"F1": 2, "F2": 4, "F3": 8}),
        ({"kernels": [6, 4, 20]}, {"F1": 2, "F2": 4, "F3": 8}),
        ({"branches": [True, False, True]}, {"F1": 2, "F3": 8}),
        ({"branches": [False, True, False]}, {"F2": 4}),
    ],
)
def test_scores_are_the_branches_written_out_and_their_sum_the_logits(arguments: dict, strides: dict) -> None:
    network = peer("dcn", **arguments)
    image = torch.randn(2, 1, 24, 32)
    with torch.no_grad():
        scores, logits = network.scores(image), network(image)
        expected = literal_scores(image, network, strides)
    assert list(network.branches) == list(expected)
    assert len(scores) == len(expected)
    for found, want in zip(scores, expected.values(), strict=True):
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, sum(expected.values()), rtol=1e-4, atol=1e-4)


def test_the_papers_layers() -> None:
    network = DCN(2, in_channels=1, out_channels=2)
    widths = [[layer.out_channels for layer in block if hasattr(layer, "out_channels")] for block in network.trunk]
    assert widths == [[64] * 2, [128] * 2, [256] * 3, [512] * 3]
    ups = [branch[0] for branch in network.branches.values()]
    assert [(up.kernel_size[0], up.stride[0], up.padding[0]) for up in ups] == [(4, 2, 1), (8, 4, 2), (16, 8, 4)]
    trunk, before = 0, 1
    for count, width in ((2, 64), (2, 128), (3, 256), (3, 512)):
        for _ in range(count):
            trunk += 9 * before * width + width
            before = width
    branches = sum(k * k * width * 64 + 64 + 64 * 2 + 2 for k, width in ((4, 128), (8, 256), (16, 512)))
    assert sum(p.numel() for p in network.parameters()) == trunk + branches == 17_202_950


def test_a_removed_branch_takes_what_only_it_needs() -> None:
    whole, short = peer("dcn"), peer("dcn", branches=(True, False, False))
    assert len(short.trunk) == 2
    assert short.step == 2
    lost = set(whole.state_dict()) - set(short.state_dict())
    assert all(name.startswith(("trunk.2", "trunk.3", "branches.F2", "branches.F3")) for name in lost)


def test_auxiliary_output_in_training_only() -> None:
    network = peer("dcn", auxiliary=True, dropout=0.0)
    image = torch.randn(1, 1, 16, 16)
    logits, scores = network(image), network.scores(image)
    assert logits.shape == (1, 2, 16, 16)
    network.train()
    stacked = network(image)
    assert stacked.shape == (1, 4, 2, 16, 16)
    torch.testing.assert_close(stacked[:, 0], logits)
    for index, score in enumerate(scores, start=1):
        torch.testing.assert_close(stacked[:, index], score)
    torch.testing.assert_close(torch.jit.script(network)(image), stacked)
    assert peer("dcn", dropout=0.0).train()(image).shape == (1, 2, 16, 16)


def test_score_maps_of_a_scripted_network_and_of_whole_images() -> None:
    network = peer("dcn")
    image = torch.randn(1, 1, 30, 21)
    scores = OverlapTileInferer(tile_size=32, geometry=network.geometry)(
        image, lambda tile: torch.cat(network.scores(tile), dim=1)
    )
    assert scores.shape == (1, 6, 30, 21)
    total = scores.unflatten(1, (3, 2)).sum(dim=1)
    torch.testing.assert_close(total, OverlapTileInferer(tile_size=32)(image, network))
    tile = torch.randn(1, 1, 32, 32)
    for found, want in zip(torch.jit.script(network).scores(tile), network.scores(tile), strict=True):
        torch.testing.assert_close(found, want)


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ((4, 3, 16), r"F2 is 3 px, smaller than its stride of 4.*\(holes\); allowed are 4, 6, 8, .*the nearest is 4"),
        ((1, 8, 16), "F1 is 1 px, smaller than its stride of 2.*the nearest is 2"),
        ((4, 8, 11), r"F3 is 11 px at stride 8: the padding \(11 - 8\) / 2 is not a whole.*nearest are 10 and 12"),
        ((4, 8.0, 16), r"F2 must be an integer, got 8\.0; allowed are 4, 6, 8"),
        ((4, 8), r"three sizes in px, for strides 2, 4 and 8, got \(4, 8\)"),
        (4, "three sizes in px, for strides 2, 4 and 8, got 4"),
    ],
)
def test_bad_kernels(kernels: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        peer("dcn", kernels=kernels)


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        ((False, False, False), "at least one of the three, got none"),
        ((True, True), r"three of True and False, for strides 2, 4 and 8, .* got \(True, True\)"),
        (("F1", "F2", "F3"), "three of True and False"),
        (["true", "true", "false"], r"as in \[True,True,False\], got \['true', 'true', 'false'\]"),
        (None, "three of True and False, .* got None"),
    ],
)
def test_bad_branches(branches: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        peer("dcn", branches=branches)


def test_a_switch_that_came_as_text_is_not_taken_for_true() -> None:
    with pytest.raises(ValueError, match=r"auxiliary must be True or False, .* got 'false'"):
        peer("dcn", auxiliary="false")
