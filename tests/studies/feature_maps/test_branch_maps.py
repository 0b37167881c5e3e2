"""Score maps and contrasts against their definitions, one pixel at a time."""

import math

import numpy as np
import pytest
import torch

from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.networks import DCN
from bundle.studies.feature_maps.branch_maps import SUM, contrast, difference_maps


def network(**arguments):
    torch.manual_seed(0)
    return DCN(**{"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "base_channels": 3, **arguments}).eval()


@pytest.mark.parametrize(
    ("branches", "names"), [((True, True, True), ["F1", "F2", "F3"]), ((True, False, True), ["F1", "F3"])]
)
def test_the_maps_add_up_to_what_the_network_decides_by(branches, names):
    net = network(branches=branches)
    image = np.random.RandomState(0).randn(41, 60).astype(np.float32)
    maps = difference_maps(net, image)
    assert list(maps) == [*names, SUM]
    logits = OverlapTileInferer()(torch.from_numpy(image.T.copy())[None, None], net)[0]
    np.testing.assert_allclose(maps[SUM], (logits[1] - logits[0]).T, atol=1e-5)
    for name in names:
        assert maps[name].shape == image.shape
        assert maps[name].std() > 1e-3
    first = net.scores(torch.from_numpy(image.T.copy())[None, None, :56, :40])[0][0]  # one branch, the common part
    np.testing.assert_allclose(maps[names[0]][:20, :20], (first[1] - first[0]).T[:20, :20].detach(), atol=1e-4)


def test_more_classes_than_two_have_no_difference():
    with pytest.raises(ValueError, match="maps of two classes are needed, the network has 3"):
        difference_maps(network(out_channels=3), np.zeros((16, 16), np.float32))


def test_contrast_is_the_difference_of_the_class_means():
    random = np.random.RandomState(0)
    maps = [random.randn(5, 7), random.randn(4, 3)]
    truths = [random.randint(-1, 3, each.shape) for each in maps]
    cell, background = [], []
    for values, truth in zip(maps, truths, strict=True):
        for value, label in zip(values.flat, truth.flat, strict=True):
            if label >= 0:
                (cell if label > 0 else background).append(value)
    found = contrast(maps, truths)
    assert found.difference == pytest.approx(sum(cell) / len(cell) - sum(background) / len(background))
    assert found.std == pytest.approx(np.std(cell + background))
    # an offset, which only the sum of all branches has a use for, changes nothing; contrasts of a sum add up
    assert contrast([each + 5 for each in maps], truths) == pytest.approx(found)
    others = [random.randn(*each.shape) for each in maps]
    both = contrast([a + b for a, b in zip(maps, others, strict=True)], truths)
    assert both.difference == pytest.approx(found.difference + contrast(others, truths).difference)


def test_without_one_of_the_classes_there_is_no_contrast():
    assert math.isnan(contrast([np.ones((3, 3))], [np.ones((3, 3))]).difference)
