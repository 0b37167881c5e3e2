"""What is written beside a network, when it begins with another one."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from monai.bundle import ConfigParser

from bundle.data.fingerprint import IMAGES_BY, image_fingerprints
from bundle.data.splits import split_told
from bundle.model import TrainedNetwork
from bundle.model.card import write_card
from bundle.training import DescribeRun, describe_run


@pytest.fixture
def items(tmp_path):
    for i in range(4):
        tifffile.imwrite(tmp_path / f"i{i}.tif", np.random.RandomState(i).randint(0, 255, (8, 9), np.uint8))
    return [{"image": str(tmp_path / f"i{i}.tif"), "name": f"i{i}"} for i in range(4)]


@pytest.mark.parametrize(
    ("training", "validating", "told"),
    [
        (1, 1, "1 image trains, 1 validates: i1"),
        (3, 1, "3 images train, 1 validates: i3"),
        (2, 2, "2 images train, 2 validate: i2, i3"),
        (2, 0, "2 images train, 0 validate"),
    ],
)
def test_it_says_how_many_images_train_and_which_validate(tmp_path, items, caplog, training, validating, told):
    (tmp_path / "run").mkdir()
    with caplog.at_level(logging.INFO):
        DescribeRun(tmp_path / "run", items[:training], items[training : training + validating]).describe(
            SimpleNamespace()
        )
    assert told in [record.message for record in caplog.records]


def test_those_that_are_not_named_are_more_than_one(items):
    def told(count, length):
        return split_told(items[:2], [{"image": "x", "name": str(n).rjust(length, "x")} for n in range(count)])

    assert "more" not in told(6, 28)  # five fit
    assert told(7, 28).endswith("xxx4 and 2 more")
    assert told(2, 200).count("x") == 398
    assert told(3, 200).endswith("x0 and 2 more")


@pytest.mark.parametrize(("robust", "told"), [("@hot", True), ("$not @hot", False), (True, True)])
def test_gray_values_are_told_as_they_were_standardized(robust, told):
    image = {"_target_": "bundle.data.channels.Channels"}
    parser = ConfigParser({"hot": True, "standardize": {"robust": robust}, "image": image})
    assert describe_run._image(parser)["image"]["standardize"] == {"robust": told}
    assert not describe_run._image(ConfigParser({"image": image}))["image"]["standardize"]["robust"]


def data_of(tmp_path, items, pretrained):
    run = DescribeRun(tmp_path / "run", items, pretrained=TrainedNetwork(pretrained))
    (tmp_path / "run").mkdir(exist_ok=True)
    run.describe(SimpleNamespace())
    return json.loads((tmp_path / "run" / "card.json").read_text())["data"]


def test_what_the_first_network_has_seen_the_second_has_seen(tmp_path, items):
    first = {"images_by": IMAGES_BY, "trained_on": image_fingerprints(items[:2]), "validated_on": {}}
    write_card(tmp_path / "first.json", {"data": first})
    renamed = [{**items[2], "name": "i0"}, items[1]]  # a name of the first's, for another image; and one of its images
    data = data_of(tmp_path, renamed, tmp_path / "first.pt")
    assert len(data["trained_on"]) == 3
    for item in items[:3]:
        with pytest.raises(ValueError, match="has seen"):
            TrainedNetwork(tmp_path / "run" / "best.pt").require_unseen([item], "held_out")
    assert TrainedNetwork(tmp_path / "run" / "best.pt").require_unseen(items[3:], "held_out") == items[3:]


def test_without_a_card_of_the_first_no_image_is_held_out(tmp_path, items, caplog):
    with caplog.at_level(logging.WARNING):
        data = data_of(tmp_path, items[:1], tmp_path / "stray.pt")
        assert "has no card" in caplog.text
        caplog.clear()
        with pytest.raises(ValueError, match="has no card that tells which images trained it"):
            TrainedNetwork(tmp_path / "run" / "best.pt").require_unseen(items[1:], "held_out")
        trusted = TrainedNetwork(tmp_path / "run" / "best.pt", trust_weights=True)
        assert trusted.require_unseen(items[1:], "held_out") == items[1:]
    assert data["images_by"] == "unknown"
    assert "part held_out cannot be checked" in caplog.text
