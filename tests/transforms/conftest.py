"""Images whose pixels encode their own position, and kinds of arrays that MONAI passes around."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor


class Kind:
    """One kind of array: makes an input of it, and tells whether an output is of the same kind."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, array: np.ndarray):
        if self.name == "numpy":
            return array
        tensor = torch.from_numpy(array)
        return tensor if self.name == "torch" else MetaTensor(tensor, meta={"filename_or_obj": "cells.png"})

    def is_kept_by(self, out) -> bool:
        return type(out) is {"numpy": np.ndarray, "torch": torch.Tensor, "meta": MetaTensor}[self.name]


@pytest.fixture(params=["numpy", "torch", "meta"])
def kind(request):
    return Kind(request.param)


@pytest.fixture
def positions():
    """1HW[D] float32, every pixel its own flat index."""

    def make(*size: int) -> np.ndarray:
        return np.arange(np.prod(size), dtype=np.float32).reshape(1, *size)

    return make


@pytest.fixture
def two_cells():
    """1HW int32: cells 1 and 2 touch along a column, cell 3 touches nothing, a patch nobody annotated."""
    label = np.zeros((1, 20, 24), np.int32)
    label[0, 3:12, 2:9] = 1
    label[0, 3:12, 9:16] = 2
    label[0, 15:19, 3:8] = 3
    label[0, 14:, 18:] = -1
    return label
