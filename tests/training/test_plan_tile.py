"""The training tile: the most labelled voxels for the computing within a bound of memory."""

from itertools import product

import pytest

from bundle.inference.tile_cost import TileCost
from bundle.networks import UNet
from bundle.training.plan_tile import _HEADROOM, plan_tile


@pytest.mark.parametrize("flat_levels", [[0, 0, 0], [0, 0, 2]])
@pytest.mark.parametrize("mebibytes", [4, 100])
def test_no_tile_within_the_bound_labels_more_for_the_computing(flat_levels, mebibytes, caplog):
    network = UNet(3, 1, 2, base_channels=2, depth=2, flat_levels=flat_levels)
    volume, bound = (12, 9, 4), mebibytes * 2**20
    tile = plan_tile(network, volume, bound)
    assert caplog.text.count("in training, a volume of 12 x 9 x 4 voxels is thinner along axis 0 and 1") == 1
    axes = network.geometry.axes(3)
    cost = TileCost(network, network.geometry, 1, 3, training=True)

    def gain(size):
        voxels = [axis.output_size(n) for axis, n in zip(axes, size, strict=True)]
        return voxels[0] * voxels[1] * voxels[2] / cost.flops(size)

    every = product(*[range(a.smallest_input, a.input_size(n) + 1, a.step) for a, n in zip(axes, volume, strict=True)])
    fitting = [size for size in every if _HEADROOM * cost.memory(size) <= bound]
    assert tuple(tile) in fitting
    assert gain(tile) >= 0.97 * max(map(gain, fitting))  # sorted out by an estimate


def test_a_step_takes_more_than_a_pass_and_leaves_the_network_as_it_was():
    network = UNet(3, 1, 2, base_channels=2, depth=1, norm="batch")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    step, one_pass = (TileCost(network, network.geometry, 1, 3, training=t).memory((30, 30, 30)) for t in (True, False))
    assert step > 2 * one_pass
    assert all((tensor == before[name]).all() for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_too_little_memory_says_how_much_is_needed():
    network = UNet(3, 1, 2, base_channels=2, depth=2)
    with pytest.raises(
        MemoryError, match=r"tile_memory 1 MiB is not enough .* smallest tile, \[44, 44, 44\] px, takes"
    ):
        plan_tile(network, (50, 50, 50), "1 MiB")
    with pytest.raises(ValueError, match=r"tile_memory must be a number of bytes .* got 'much'"):
        plan_tile(network, (50, 50, 50), "much")
