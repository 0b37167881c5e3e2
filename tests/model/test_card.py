"""What lies beside a network, and that no evaluation takes seen images for unseen ones."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from monai.bundle import ConfigParser

from bundle.cells import CellOptions
from bundle.data.fingerprint import IMAGES_BY, image_fingerprints
from bundle.model import TrainedNetwork, trained_network
from bundle.model.card import card_file, cells_of, origin, read_card, robust_gray, write_card
from tests.conftest import ROOT


@pytest.fixture
def items(tmp_path):
    pages = np.random.RandomState(0).randint(0, 255, (4, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    return [{"image": str(tmp_path / "stack.tif"), "name": f"s{i}", "slice": i} for i in range(4)]


@pytest.fixture
def checkpoint(items, tmp_path):
    data = {
        "images_by": IMAGES_BY,
        "trained_on": image_fingerprints(items[:2]),
        "validated_on": image_fingerprints(items[2:3]),
    }
    split = {"data": "ab", "held_out": 1, "fold": None, "split_seed": 5}
    write_card(tmp_path / "model.json", {"data": data, "split": split})
    return tmp_path / "model.pt"


def test_what_is_known_lies_beside_the_model_or_in_the_folder_of_its_run(tmp_path):
    assert card_file(tmp_path / "model.pt") == tmp_path / "model.json"
    assert TrainedNetwork(tmp_path / "model.pt").card == {}
    for number, name in enumerate(("about.json", "card.json")):  # the first is what earlier versions wrote
        write_card(tmp_path / name, {"result": {"epochs": number}})
        assert card_file(tmp_path / "best.pt") == card_file(tmp_path / "last.pt") == tmp_path / name
        assert TrainedNetwork(tmp_path / "best.pt").card == {"result": {"epochs": number}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["about.json", "card.json"]


def test_a_card_that_describes_another_file_is_refused_or_left_out(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(trained_network, "_PATIENCE", 0)
    model = tmp_path / "model.pt"
    model.write_bytes(b"one")
    write_card(tmp_path / "model.json", {"result": {"epochs": 1}}, of=model)
    assert TrainedNetwork(model).card["result"] == {"epochs": 1}
    model.write_bytes(b"two")
    with pytest.raises(ValueError, match=r"describes another file than .*model\.pt: put .* --trust_weights true"):
        _ = TrainedNetwork(model).card
    with caplog.at_level(logging.WARNING):
        assert TrainedNetwork(model, trust_weights="true").card == {}
    assert "describes another file" in caplog.text


def test_a_damaged_file_is_named(tmp_path):
    for text in ("{", "[1]"):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(ValueError, match=r"model\.json (is damaged, it is no JSON|holds a list)"):
            _ = TrainedNetwork(tmp_path / "model.pt").card


def test_cells_are_read_off_as_the_training_was_configured(tmp_path):
    trained = TrainedNetwork(tmp_path / "model.pt")
    assert trained.cell_options() == CellOptions(min_size=20, close_gaps=1.0)
    cells = {"threshold": 0.65, "min_size": "$10 * 20", "outline": 0.3, "of_an_older_version": 1}
    write_card(tmp_path / "model.json", {"config": {"cells": cells}})
    expected = CellOptions(threshold=0.65, min_size=20, low_threshold=0.3, close_gaps=1.0)
    assert trained.cell_options() == expected
    cells = {"_target_": "bundle.cells.CellOptions", **vars(expected)}
    write_card(tmp_path / "model.json", {"config": {"cells": cells}})
    assert trained.cell_options() == expected
    assert trained.cell_options(threshold=0.4) == replace(expected, threshold=0.4)
    with pytest.raises(ValueError, match=r"unknown option cells#treshold: did you mean cells#threshold"):
        trained.cell_options(treshold=0.4)


def test_an_option_of_all_classes_that_was_changed_holds_for_each():
    before = CellOptions(min_size=20)
    rod, disc = {"threshold": 0.7, "low_threshold": 0.5, "min_size": 9}, {"low_threshold": 0.2}

    def left(**changes):
        return cells_of({"rod": rod, "disc": disc}, replace(before, **changes), before)

    assert left() == {"rod": rod, "disc": disc}
    assert left(threshold=0.9) == {"rod": {"low_threshold": 0.5, "min_size": 9}, "disc": disc}
    assert left(threshold=0.3)["rod"] == {"low_threshold": 0.3, "min_size": 9}
    assert left(min_size=3)["rod"] == {"threshold": 0.7, "low_threshold": 0.5}
    with pytest.raises(ValueError, match="low_threshold must be a number"):
        cells_of({"rod": {"low_threshold": "low"}}, replace(before, threshold=0.9), before)


def test_configs_read_the_cells_of_classes_by_the_card_and_what_was_changed(tmp_path):
    cells = {**CellOptions(min_size=20, fill_holes=False, connectivity=2, spacing=(1, 2)).told, "spatial_dims": 2}
    card = {"classes": ["background", "rod", "disc"], "truth": "classes", "cells": cells}
    write_card(tmp_path / "model.json", {**card, "cells_of": {"Rod": {"threshold": 0.7, "min_size": 9}}})

    def parsed(names, entry, **options):
        parser = ConfigParser()
        parser.read_config([str(ROOT / "configs" / name) for name in names])
        own = {"checkpoint": str(tmp_path / "model.pt"), "volumes": False, "classes": "$@trained.classes"}
        parser.update({**own, **options})
        return parser.get_parsed_content(entry)

    for names in (["inference.json"], ["train.json", "evaluate.json"]):
        assert [each.threshold for each in parsed(names, "find_classes").options] == [0.7, 0.5]
        changed = parsed(names, "find_classes", **{"cells#threshold": 0.9}).options
        assert [(each.threshold, each.min_size) for each in changed] == [(0.9, 9), (0.9, 20)]
        given = {"cells#threshold": 0.9, "cells_of": {"disc": {"threshold": 0.3}}}
        assert [each.threshold for each in parsed(names, "find_classes", **given).options] == [0.9, 0.3]
    of_label = parsed(["inference.json"], "find_classes_for_label", **{"displayable_configs#threshold": 0.6}).options
    assert [(each.threshold, each.min_size) for each in of_label] == [(0.6, 9), (0.6, 20)]

    choosing = ["train.json", "evaluate.json", "choose_cells.json"]
    assert parsed(choosing, "cells_of") == {}
    assert parsed(choosing, "cells").fixed() == TrainedNetwork(tmp_path / "model.pt").cell_options()


def test_robust_gray_values_follow_the_training():
    assert robust_gray({"config": {"standardize": {"_target_": "transforms.Standardized", "robust": True}}})
    for config in (None, "x", {}, {"standardize": {}}, {"standardize": {"robust": "$exit()"}}):
        assert not robust_gray({"config": config})


def test_a_network_says_where_it_comes_from(checkpoint, tmp_path):
    assert TrainedNetwork(tmp_path / "nothing.pt").origin() == "of unknown training"
    assert TrainedNetwork(checkpoint).origin() == "no experiment, trained on 2 images: s0, s1"
    four, five = ({"data": {"trained_on": dict.fromkeys("abcde"[:n], "")}} for n in (4, 5))
    assert origin(four).endswith("trained on 4 images: a, b, c, d")
    assert origin(five).endswith("trained on 5 images: a, b, c and 2 more")
    shipped = Path(__file__).parents[2] / "models/em_membranes.pt"
    assert (
        TrainedNetwork(shipped).origin()
        == "run em-default-s0 of em, trained on 20 images: train-00, train-01, train-02 and 17 more"
    )


def test_images_are_known_by_their_content_and_slice(items, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "other.tif"
    copy.write_bytes((tmp_path / "stack.tif").read_bytes())
    renamed = [{**item, "image": str(copy), "label": "of another kind"} for item in items]
    assert image_fingerprints(renamed) == image_fingerprints(items)
    assert len(set(image_fingerprints(items).values())) == 4


def test_held_out_holds_nothing_that_training_or_its_validation_saw(items, checkpoint):
    assert TrainedNetwork(checkpoint).require_unseen(items[3:], "held_out") == items[3:]
    with pytest.raises(ValueError, match="has seen") as error:
        TrainedNetwork(checkpoint).require_unseen(items[1:], "held_out")
    message = str(error.value)
    assert "'held_out' has 2 of 3 images" in message
    assert "s1 (trained on), s2 (used to choose the checkpoint)" in message
    assert "--held_out 1 --split_seed 5, or" in message
    assert "fold" not in message
    assert "--data" not in message


@pytest.mark.parametrize(
    ("split", "advice"),
    [
        ({"held_out": 0, "fold": 0, "folds": 3, "blocks": True}, "--held_out 0 --fold 0 --folds 3 --blocks True, or"),
        ({"held_out": ["a b", "c"], "fold": None}, """--held_out '["a b", "c"]', or"""),
        ({"held_out": 0, "fold": None, "validation": 0.2}, "its training held nothing out: train with --held_out 0.2"),
    ],
)
def test_the_advice_can_be_followed(split, advice, items, checkpoint):
    card = read_card(checkpoint) | {"split": split}
    write_card(checkpoint.with_suffix(".json"), card)
    with pytest.raises(ValueError, match="has seen") as error:
        TrainedNetwork(checkpoint).require_unseen(items, "held_out")
    assert advice in str(error.value)


def test_validation_may_have_chosen_the_checkpoint_but_not_trained_it(items, checkpoint):
    assert TrainedNetwork(checkpoint).require_unseen(items[2:], "validation") == items[2:]
    with pytest.raises(ValueError, match=r"1 of 2 images .*: s1 \(trained on\)"):
        TrainedNetwork(checkpoint).require_unseen(items[1:3], "validation")


def test_any_other_part_is_measured_and_the_log_says_what_was_seen(items, checkpoint, caplog):
    with caplog.at_level(logging.WARNING):
        assert TrainedNetwork(checkpoint).require_unseen(items, "all") == items
    assert "3 of 4 images were used in training" in caplog.text


def test_without_knowledge_nothing_is_called_held_out_but_on_trust(items, tmp_path, caplog):
    (tmp_path / "lone.json").write_text(json.dumps({"data": {}}))
    for name in ("lone.pt", "none.pt"):
        with pytest.raises(ValueError, match=r"has no card that tells .* by --part all, or add --trust_weights true"):
            TrainedNetwork(tmp_path / name).require_unseen(items, "held_out")
        for part, trusted in (("held_out", True), ("validation", False)):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                assert TrainedNetwork(tmp_path / name, trusted).require_unseen(items, part) == items
            assert f"part {part} cannot be checked" in caplog.text


def test_held_out_copies_are_refused_in_another_gray_scale_and_orientation_and_near_copies_named(tmp_path, caplog):
    waves = np.add.outer(np.sin(np.arange(90) / 7), np.cos(np.arange(80) / 3 + 1))
    image = (60 * (waves + np.random.RandomState(0).normal(0, 0.5, waves.shape)) + 128).clip(0, 255).astype(np.uint8)
    copies = {"a": image, "turned": np.rot90(image).astype(np.uint16) * 257, "cropped": image[1:, :-1]}
    items = [{"image": str(tmp_path / f"{name}.tif"), "name": name} for name in copies]
    for name, copy in copies.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", copy)
    data = {"images_by": IMAGES_BY, "trained_on": image_fingerprints(items[:1]), "validated_on": {}}
    write_card(tmp_path / "model.json", {"data": data})
    with pytest.raises(ValueError, match=r"1 of 1 images .* has seen: turned = a \(trained on\); its training held"):
        TrainedNetwork(tmp_path / "model.pt").require_unseen(items[1:2], "held_out")
    with caplog.at_level(logging.WARNING):
        assert TrainedNetwork(tmp_path / "model.pt").require_unseen(items[2:], "held_out") == items[2:]
    assert "no test: cropped like a (trained on), correlation 0.9" in caplog.text


def test_digits_of_an_earlier_version_are_still_checked(items, tmp_path):
    seen = {"s0": "4918df4811805fd6"}  # of s0, as "images_by": "pixels" had them
    write_card(tmp_path / "model.json", {"data": {"images_by": "pixels", "trained_on": seen}})
    assert TrainedNetwork(tmp_path / "model.pt").require_unseen(items[1:], "held_out") == items[1:]
    with pytest.raises(ValueError, match=r"1 of 4 images .*: s0 \(trained on\)"):
        TrainedNetwork(tmp_path / "model.pt").require_unseen(items, "held_out")
