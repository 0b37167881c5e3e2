"""The entry "image" of a card: what it may hold, what a card without it means, what an option changes."""

from __future__ import annotations

import json

import pytest
import torch

from bundle.data.channels import Channels
from bundle.model import TrainedNetwork, checkpoints
from bundle.model.card import robust_gray
from bundle.model.image_entry import image_entry
from bundle.networks import UNet

ARGUMENTS = {"spatial_dims": 2, "in_channels": 2, "out_channels": 2, "base_channels": 2, "depth": 1}
NETWORK = {"_target_": "bundle.networks.UNet", **ARGUMENTS}
KNOWN = Channels([1, 0], 2, ("GFP", "$DAPI"))  # a name is a name


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    checkpoints.write(tmp_path / "model.pt", UNet(**ARGUMENTS).state_dict())
    return tmp_path / "model.pt"


def test_what_is_written_is_what_is_read(model):
    card = {"network": NETWORK, "image": image_entry(KNOWN, True)}
    model.with_suffix(".json").write_text(json.dumps(card))
    trained = TrainedNetwork(model)
    assert trained.channels() == Channels((1, 0), 2, ("GFP", "$DAPI"), str(model))
    assert trained.channels([0, 1]) == Channels((0, 1), 2, None, str(model))  # chosen by a person: by their place
    assert robust_gray(trained.card)


def test_a_network_without_the_entry_takes_all_channels_of_a_file(model, tmp_path):
    assert TrainedNetwork(model).channels() == Channels("all", 2, None, str(model))
    assert TrainedNetwork(tmp_path / "none.pt").channels().count is None
    gray = Channels(count=1)
    assert gray.or_luminance().select == "luminance"
    assert KNOWN.or_luminance() is KNOWN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel": 2}, r"unknown entry 'channel': did you mean channels or"),
        ({"channels": 0}, "channels must be an integer of at least 1"),
        ({"channels": "2"}, "channels must be an integer"),
        ({"channels": 3, "channel_names": None}, r'"channels" in .* is 3, which does not fit "in_channels" 2'),
        ({"context_slices": 1}, 'is 2, which does not fit "in_channels" 2'),
        ({"channel_names": ["a"]}, r"must be null or a name for each of 2 channels, got \['a'\]"),
        ({"channel_names": "ab"}, "must be null or a name"),
        ({"channel_names": ["a", 1]}, "must be null or a name"),
        ({"select": "$print(1)"}, "channels must be all, luminance"),
        ({"select": [0, "1"]}, "channels must be all, luminance"),
        ({"select": {"_target_": "os.system"}}, "channels must be all, luminance"),
        ({"standardize": {"robust": "yes"}}, r'must be {"robust": true or false}, got'),
        ({"standardize": True}, r'must be {"robust": true or false}, got'),
        ({"context_slices": -1}, '"context_slices" in .* must be an integer of at least 0'),
        ({"spacing": [1, 0]}, '"spacing" in .* must be null or two or three numbers above 0'),
        ({"spacing": "1"}, '"spacing" in'),
    ],
)
def test_what_does_not_fit_is_refused(model, changes, message):
    card = {"network": NETWORK, "image": {**image_entry(KNOWN, False), **changes}}
    model.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=message):
        TrainedNetwork(model).channels()
