"""Batch normalisation whose statistics stand still: against the mean of the tiles, and against a network that moves."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from bundle.training import FreezeBatchNorm

STEPS = 12


def trained(start, momentum=0.01, network=None, steps=STEPS):
    """(the network, the tiles it saw, the running mean after each step) of a training that changes no weight."""
    network = network or nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1), nn.Dropout(0.5))
    tiles = [torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) + seed for seed in range(steps)]
    means = []

    def step(engine, tile):
        network.train()  # as MONAI's trainer, after all events
        network(tile)
        means.append(float(network[0].running_mean) if isinstance(network[0], nn.BatchNorm2d) else 0.0)

    engine = Engine(step)
    FreezeBatchNorm(network, start, momentum).attach(engine)
    engine.run(tiles[: steps // 2], max_epochs=2, epoch_length=steps // 2)
    return network, tiles[: steps // 2] * 2, means


def test_statistics_are_the_mean_of_the_tiles_and_then_stand_still():
    _, tiles, means = trained(start=0.5)
    half = STEPS // 2
    for step in range(half):
        assert means[step] == pytest.approx(float(torch.stack(tiles[: step + 1]).mean()), abs=1e-5)
    assert means[half:] == [means[half - 1]] * half


def test_the_output_of_the_second_half_is_that_of_inference():
    network, tiles, _ = trained(start=0.5, network=nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1)))
    with torch.no_grad():
        handled = Engine(lambda _, tile: network.train()(tile))
        FreezeBatchNorm(network, start=0.0).attach(handled)
        handled.run([tiles[3]], max_epochs=1)
        torch.testing.assert_close(handled.state.output, network.eval()(tiles[3]))


def test_one_never_freezes_and_the_momentum_bounds_the_weight_of_a_step():
    _, tiles, means = trained(start=1.0, momentum=0.5)
    expected = 0.0
    for step, tile in enumerate(tiles, start=1):
        weight = max(0.5, 1 / step)
        expected += weight * (float(tile.mean()) - expected)
        assert means[step - 1] == pytest.approx(expected, abs=1e-5)


def test_dropout_and_the_layers_of_a_later_training_are_left_alone():
    network, *_ = trained(start=0.5)
    assert network[2].training
    before = float(network[0].running_mean)
    network.train()(torch.full((1, 1, 4, 4), 100.0))
    assert float(network[0].running_mean) != before


def test_a_network_without_any():
    trained(start=0.5, network=nn.Sequential(nn.Conv2d(1, 1, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 1.5}, r"start must be within 0 \.\. 1 \(1 is the nearest\), got 1.5"),
        ({"start": -0.5}, r"start must be within 0 \.\. 1 \(0 is the nearest\), got -0.5"),
        ({"momentum": 0}, "momentum must be above 0 and at most 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        FreezeBatchNorm(nn.BatchNorm2d(1), **options)
