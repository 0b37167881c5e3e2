"""The networks in models/: whole, described, and measured on images that they have not seen."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork

MODELS = Path(__file__).parents[2] / "models"
NAMES = ("em_membranes", "nuclei")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_whole_small_and_tells_its_origin(name):
    trained = TrainedNetwork(MODELS / f"{name}.pt")
    network = trained.load().eval()
    assert (MODELS / f"{name}.pt").stat().st_size < 16e6
    image = torch.randn(1, 1, 70, 90, generator=torch.Generator().manual_seed(0))
    probability = np.asarray(OverlapTileInferer(probability_of=1)(image, network))
    assert probability.shape == image.shape
    assert ((probability >= 0) & (probability <= 1)).all()
    card = (MODELS / f"{name}.json").read_text()
    assert not re.search(r'"/(home|root|work|tmp|mnt|Users)/', card)  # no path of the machine that trained it
    assert json.loads(card)["provenance"]["git_dirty"] == "false"


@pytest.mark.parametrize("name", NAMES)
def test_its_results_are_of_images_that_it_has_not_seen(name):
    card = TrainedNetwork(MODELS / f"{name}.pt").card
    held_out = card["result"]["held_out"]
    seen = {*card["data"]["trained_on"], *card["data"]["validated_on"]}
    assert len(seen) >= 20
    assert held_out["images"]
    assert not seen & set(held_out["images"])
    for way in ("one pass", "averaging d4"):
        assert held_out[way]
        assert all(math.isfinite(value) for value in held_out[way].values())
