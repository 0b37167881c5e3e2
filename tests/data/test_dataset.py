"""TileDataset: a sample depends on (seed, epoch, index) and on nothing else."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader
from monai.transforms import Compose, MapTransform, RandomizableTransform, Transform
from torch.utils.data import DistributedSampler

from bundle.data.dataset import TileDataset
from transforms import CropToOutputd, WeightMapd


class Load(MapTransform):
    """Deterministic: a number into an array; counts its calls."""

    def __init__(self):
        super().__init__("image")
        self.calls = 0

    def __call__(self, data):
        self.calls += 1
        return {**data, "image": np.full((1, 4, 4), data["image"], np.float32)}


class RandAddInPlace(RandomizableTransform):
    """Random, and careless with what it is given."""

    def __call__(self, data):
        data["image"] += self.R.uniform(0, 0.5)
        return data


class RandKeep(RandomizableTransform):
    """A second one, whose numbers must differ from those of the first."""

    def __call__(self, data):
        return {**data, "draw": self.R.uniform()}


def make(n=3, samples=7, **options) -> TileDataset:
    data = [{"image": 10 * i, "name": str(i)} for i in range(n)]
    return TileDataset(data, Compose([Load(), RandAddInPlace(), RandKeep()]), samples, **options)


def epoch_of(dataset, epoch, **loader) -> list[tuple[float, float]]:
    dataset.set_epoch(epoch)
    batches = list(DataLoader(dataset, batch_size=1, **loader))
    return [(float(batch["image"][0, 0, 0, 0]), float(batch["draw"][0])) for batch in batches]


def test_two_workers_that_live_through_all_epochs_see_what_none_see():
    alone = [epoch_of(make(), epoch) for epoch in range(3)]
    dataset = make()
    loader = DataLoader(dataset, batch_size=1, num_workers=2, persistent_workers=True)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        seen = [(float(b["image"][0, 0, 0, 0]), float(b["draw"][0])) for b in loader]
        assert seen == alone[epoch]
    assert len({sample for epoch in alone for sample in epoch}) == 21


def test_no_step_is_spent_on_what_nobody_annotated(caplog):
    labels = [np.where(np.arange(64).reshape(1, 8, 8) < filled, filled % 9, -1) for filled in (0, 12, 0, 64)]
    with caplog.at_level(logging.INFO):
        dataset = TileDataset([{"label": label, "name": f"t{n}"} for n, label in enumerate(labels)], [RandKeep()], 6)
    assert "nothing is annotated in 2 of 4 images, no step is spent on these: t0, t2" in caplog.text
    assert sorted(dataset.item_of(index) for index in range(6)) == [1, 1, 1, 3, 3, 3]


def test_each_item_is_loaded_once():
    dataset = make()
    for epoch in range(2):
        epoch_of(dataset, epoch)
    assert dataset.transform.transforms[0].calls == 3


def test_the_cache_is_never_changed_in_place():
    dataset = make(n=1, samples=50)
    values = [float(dataset[i]["image"][0, 0, 0]) for i in range(50)]
    assert 0 <= min(values) < max(values) < 0.5


def test_a_resumed_run_continues_exactly():
    whole = make()
    uninterrupted = [epoch_of(whole, epoch) for epoch in range(4)]
    assert [epoch_of(make(), epoch) for epoch in (2, 3)] == uninterrupted[2:]


def test_order_and_history_do_not_matter():
    dataset = make()
    expected = [dataset[i]["draw"] for i in range(7)]
    assert [dataset[i]["draw"] for i in reversed(range(7))] == expected[::-1]
    assert dataset[-1]["draw"] == expected[-1]


def test_seeds_epochs_samples_and_transforms_differ():
    draws = {
        (seed, epoch, i): (float(sample["image"][0, 0, 0]) % 10, sample["draw"])
        for seed in range(2)
        for epoch in range(2)
        for dataset in [make(seed=seed)]
        for i in range(7)
        for sample in [dataset.set_epoch(epoch) or dataset[i]]
    }
    values = [round(number, 9) for pair in draws.values() for number in pair]
    assert len(set(values)) == 2 * 28


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 7), samples=st.integers(1, 12), epochs=st.integers(1, 6), seed=st.integers(0, 99))
def test_equal_use_of_the_images(n, samples, epochs, seed):
    dataset = make(n, samples, seed=seed)
    used = []
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        used += [dataset.item_of(i) for i in range(samples)]
    for start in range(0, len(used) - n + 1, n):
        assert sorted(used[start : start + n]) == list(range(n))
    counts = Counter(used)
    assert max(counts.values()) - min(counts[i] for i in range(n)) <= 1


def test_shuffles_differ():
    dataset = make(n=8, samples=8)
    orders = set()
    for epoch in range(6):
        dataset.set_epoch(epoch)
        orders.add(tuple(dataset.item_of(i) for i in range(8)))
    assert len(orders) == 6


def test_the_item_is_the_one_named():
    dataset = make(n=5, samples=5)
    for i in range(5):
        assert int(dataset[i]["name"]) == dataset.item_of(i) == int(dataset[i]["image"][0, 0, 0] // 10)


def test_distributed_ranks_share_the_samples():
    dataset = make(samples=8)
    whole = epoch_of(dataset, 1)
    ranks = [epoch_of(dataset, 1, sampler=DistributedSampler(dataset, 2, rank, shuffle=False)) for rank in range(2)]
    assert [pair for both in zip(*ranks, strict=True) for pair in both] == whole


def test_length_and_bounds():
    dataset = make(n=2, samples=5)
    assert len(dataset) == 5
    assert len(dataset.data) == 2
    assert len(list(dataset)) == 5
    with pytest.raises(IndexError):
        dataset[5]
    assert len(dataset[1:4]) == 3


def test_all_deterministic_transforms():
    class Double(Transform):
        def __call__(self, data):
            return {**data, "image": data["image"] * 2}

    dataset = TileDataset([{"image": 3}], Compose([Load(), Double()]), 2)
    assert float(dataset[1]["image"][0, 0, 0]) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "empty datalist"),
        ({"samples": 0}, "samples_per_epoch must be an integer of at least 1 .*, got 0"),
        ({"samples": 2.0}, "samples_per_epoch must be"),
        ({"samples": True}, "samples_per_epoch must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_negative_epoch():
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        make().set_epoch(-1)


def test_weights_are_made_only_where_the_crop_keeps_them():
    plain = [WeightMapd(), CropToOutputd(("label", "weight"), depth=1)]
    label = np.tile(np.arange(28, dtype=np.int32) % 3, (1, 28, 1))
    dataset = TileDataset([{"label": label}], Compose(plain), 1)
    assert dataset.transform.transforms[0].weight_map.inner == plain[1].crop.inner
    assert dataset[0]["weight"].shape == dataset[0]["label"].shape == (1, 12, 12)
    assert plain[0].weight_map.inner is None
