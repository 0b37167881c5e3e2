"""Each number out of range is refused by one sentence with its name, value, range and what to give instead."""

from __future__ import annotations

import json
import sys

import pytest
from monai.bundle import ConfigParser

from bundle.training.require_settings import _ALLOWED, require_settings
from tests.conftest import ROOT

TRAIN = json.loads((ROOT / "configs" / "train.json").read_text())


def parser(**options) -> ConfigParser:
    made = ConfigParser(json.loads(json.dumps(TRAIN)))
    for name, value in options.items():
        made[name] = value
    return made


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("optimizer#lr", -1, "a number above 0, got -1: 0.001 is the default"),
        ("optimizer#lr", 0, "a number above 0, got 0: 0.001 is the default"),
        ("optimizer#lr", "nan", "a number above 0, got 'nan': 0.001"),
        ("optimizer#lr", float("nan"), "a number above 0, got nan: 0.001"),
        ("optimizer#lr", float("inf"), "a number above 0, got inf: 0.001"),
        ("optimizer#weight_decay", -1, "a number of at least 0, got -1: 0 is the nearest"),
        ("train#dataloader#batch_size", 0, "a whole number of at least 1, got 0: 1 is the nearest"),
        ("train#dataloader#num_workers", -1, "a whole number of at least 0 (0: no worker processes), got -1: 0 is the"),
        ("val_interval", 0, "a whole number of at least 1 (epochs), got 0: 1 is the nearest"),
        ("max_epochs", 0, "a whole number of at least 1 (epochs), got 0: 1 is the nearest"),
        ("max_epochs", -1, "a whole number of at least 1 (epochs), got -1: 1 is the nearest"),
        ("max_epochs", 2.5, "a whole number of at least 1 (epochs), got 2.5: 2 and 3 are the nearest"),
        ("max_epochs", "abc", "a whole number of at least 1 (epochs), got 'abc': 1 is the nearest"),
        ("max_epochs", True, "a whole number of at least 1 (epochs), got True: 1 is the nearest"),
        ("seed", "abc", "a whole number from 0 to 4294967295, got 'abc': 0 is the nearest"),
        ("seed", 2**32, "from 0 to 4294967295, got 4294967296: 4294967295 is the nearest"),
        ("held_out", 1.5, "below 1, or a list of their names, got 1.5: 2 is the nearest"),
        (
            "held_out",
            -1,
            "a number of images (0, 1, ...), a share of them below 1, or a list of their names, got -1: 0",
        ),
        ("held_out", float("nan"), "got nan: 0 is for none"),
        ("held_out", float("inf"), "got inf: 0 is for none"),
        ("weight_map#w0", float("inf"), "got inf: 0 is the nearest"),
        ("validation", "all", "got 'all': 0 is for none"),
        ("samples_per_epoch", 0, "a whole number of at least 1 (steps), got 0: 1 is the nearest"),
        ("patience", -1, "a whole number of at least 0 (0: never stop early), got -1: 0 is the nearest"),
        ("weight_map#w0", -1, "a number of at least 0 (0: no border weight), got -1: 0 is the nearest"),
        ("weight_map#sigma", 0, "a number above 0 px, got 0: 5, as in the paper, is the default"),
        ("elastic#sigma", -1, "a number of at least 0 px (0: no deformation), got -1: 0 is the nearest"),
        ("freeze_norm_after", 2, "a number from 0 to 1, got 2: 1 is the nearest"),
        ("depth", 0, "a whole number of at least 1, got 0: 1 is the nearest"),
    ],
)
def test_what_is_refused(name, value, told):
    with pytest.raises(ValueError, match=f"^--{name} must be ") as caught:
        require_settings(parser(**{name: value}))
    assert told in str(caught.value)


def test_what_passes():
    require_settings(None)
    require_settings(parser())
    allowed = {"held_out": ["000"], "validation": 0.0, "patience": "$2 + 1", "freeze_norm_after": 0.5, "seed": 0}
    require_settings(parser(**allowed, **{"optimizer#lr": 1e-30, "weight_map#w0": 0, "base_channels": "@depth"}))
    require_settings(parser(optimizer={"_target_": "torch.optim.Adam"}, weight_map="@instances_to_class"))


def test_every_name_is_an_entry_of_the_config():
    missing = {name for name in _ALLOWED if name not in parser()}
    assert not missing


@pytest.mark.parametrize(("validation", "warned"), [(0, True), (0.2, False)])
def test_what_only_validation_images_decide_is_told_where_there_are_none(monkeypatch, caplog, validation, warned):
    monkeypatch.setattr(sys, "argv", ["bundle", "--best_by", "seg", "--patience", "5"])
    require_settings(parser(validation=validation, best_by="seg", patience=5))
    assert ("--best_by and --patience: without effect, since no image validates" in caplog.text) == warned
