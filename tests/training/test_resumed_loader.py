"""The rest of an epoch has the batches that the whole one has there, and computes no others."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader

from bundle.training.resumed_loader import ResumedLoader


class Numbers(torch.utils.data.Dataset):
    def __init__(self) -> None:
        self.computed: list[int] = []

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> torch.Tensor:
        self.computed.append(index)
        return torch.tensor(index)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("used", [0, 1, 3])
def test_it_goes_on_where_the_whole_would(used, shuffle, workers) -> None:
    loader = DataLoader(Numbers(), batch_size=3, shuffle=shuffle, num_workers=workers)
    rest = ResumedLoader(loader, used)
    passes = []
    for batches in (loader, rest, rest):
        torch.manual_seed(5)
        passes.append([batch.tolist() for batch in batches])
    assert passes == [passes[0], passes[0][used:], passes[0]]
    assert len(passes[0]) == 4


def test_what_was_used_is_not_computed_again() -> None:
    data = Numbers()
    assert [batch.tolist() for batch in ResumedLoader(DataLoader(data, batch_size=3), 2)] == [[6, 7, 8], [9]]
    assert data.computed == [6, 7, 8, 9]


def test_any_other_loader_is_iterated() -> None:
    rest = ResumedLoader("abcd", 2)
    assert ["".join(rest), "".join(rest)] == ["cd", "abcd"]
