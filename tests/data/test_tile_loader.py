"""TileLoader: the same samples as a DataLoader, and those of the next epoch before anybody asks."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, RandomizableTransform

from bundle.data.dataset import TileDataset
from bundle.data.tile_loader import TileLoader

LIVING = {"num_workers": 2, "persistent_workers": True, "prefetch_factor": 2}


class RandCounted(RandomizableTransform):
    """A random number; counts in shared memory how many were drawn."""

    def __init__(self):
        super().__init__()
        self.made = torch.zeros(64, dtype=torch.int64).share_memory_()

    def __call__(self, data):
        draw = self.R.randint(1 << 30)
        self.made[int(np.argmin(self.made.numpy() > 0))] = draw
        return {"draw": draw}


@pytest.fixture
def dataset():
    return TileDataset([{"name": "a"}, {"name": "b"}], Compose([RandCounted()]), samples_per_epoch=5)


def epoch_of(loader, epoch):
    loader.dataset.set_epoch(epoch)
    return [int(batch["draw"]) for batch in loader]


def test_samples_are_those_of_a_plain_loader_also_of_epochs_out_of_order(dataset):
    living = TileLoader(dataset, batch_size=1, **LIVING)
    found = {epoch: epoch_of(living, epoch) for epoch in (1, 2, 3, 7, 8, 2)}
    plain = DataLoader(dataset, batch_size=1)
    assert found == {epoch: epoch_of(plain, epoch) for epoch in (1, 2, 3, 7, 8)}
    assert len({draw for epoch in found.values() for draw in epoch}) == 25


def test_an_epoch_left_in_the_middle_is_begun_again(dataset):
    living = TileLoader(dataset, batch_size=1, **LIVING)
    dataset.set_epoch(1)
    for _, _ in zip(range(2), living, strict=False):
        pass
    assert epoch_of(living, 1) == epoch_of(DataLoader(dataset, batch_size=1), 1)


def test_workers_make_samples_of_the_next_epoch_while_nobody_asks(dataset):
    counted = dataset.transform.transforms[0].made
    living = TileLoader(dataset, batch_size=1, **{**LIVING, "num_workers": 1})
    epoch_of(living, 1)
    deadline = time.monotonic() + 60
    while np.count_nonzero(counted.numpy()) < 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    ahead = counted.numpy()[5:7].tolist()
    assert ahead == epoch_of(DataLoader(dataset, batch_size=1), 2)[:2]
