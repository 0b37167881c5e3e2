"""Score maps of the branches against the network itself."""

import numpy as np
import pytest
import torch

from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.networks import DCN
from bundle.studies.feature_maps.branch_maps import difference_maps
from bundle.studies.feature_maps.map_statistics import SUM


def network(**arguments):
    torch.manual_seed(0)
    return DCN(**{"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "base_channels": 3, **arguments}).eval()


@pytest.mark.parametrize(
    ("branches", "names", "channels"),
    [((True, True, True), ["F1", "F2", "F3"], 1), ((True, False, True), ["F1", "F3"], 3)],
)
def test_the_maps_add_up_to_what_the_network_decides_by(branches, names, channels):
    net = network(branches=branches, in_channels=channels)
    image = np.random.RandomState(0).randn(channels, 41, 60).astype(np.float32)
    tensor = torch.from_numpy(image.transpose(0, 2, 1).copy())[None]
    maps = difference_maps(net, image)
    assert list(maps) == [*names, SUM]
    logits = OverlapTileInferer()(tensor, net)[0]
    np.testing.assert_allclose(maps[SUM], (logits[1] - logits[0]).T, atol=1e-5)
    for name in names:
        assert maps[name].shape == image.shape[1:]
        assert maps[name].std() > 1e-3
    first = net.scores(tensor[..., :56, :40])[0][0]  # one branch, the common part
    np.testing.assert_allclose(maps[names[0]][:20, :20], (first[1] - first[0]).T[:20, :20].detach(), atol=1e-4)


def test_more_classes_than_two_have_no_difference():
    with pytest.raises(ValueError, match="maps of two classes are needed, the network has 3"):
        difference_maps(network(out_channels=3), np.zeros((1, 16, 16), np.float32))
