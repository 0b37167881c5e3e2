"""Names of earlier versions are refused with their successors, which exist."""

import json
import tarfile
from pydoc import locate

import pytest
from monai.bundle import load_bundle_config

from bundle.model.renamed import RENAMED, require_current_names, successor, translated
from tests.conftest import ROOT

TRAIN = ["--config_file", f"{ROOT}/configs/train.json"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--averaging", "option --averaging is called --tta now"),
        ("--freeze_norm", "is called --freeze_norm_after now, null instead of 1 for never"),
        ("--weigh#1#w0", "is called --weight_map#w0 now"),
        ("--augment::0::sigma", "is called --elastic#sigma now"),
        ("--cells#grow", "is called --cells#close_gaps now"),
        ("--identity#seed", "is called --must_match#seed now"),
        ("--validate#inferer#averaging", "is called --validate#inferer#tta now"),
    ],
)
def test_an_option_names_its_successor(option, message):
    with pytest.raises(ValueError, match=message):
        require_current_names([*TRAIN, option, "1"])
    require_current_names(["-q", option])  # no command of monai.bundle


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"freeze_norm": 0.5}, r"freeze_norm in .*old\.json is called freeze_norm_after now"),
        ({"+weigh": [{}]}, "weigh in .* is called targets now"),
        ({"cells": {"threshold": 0.5, "outline": 0.3}}, "cells#outline in .* is called cells#low_threshold now"),
        ({"cells": {"threshold": 0.5}}, '"cells" in .* is a component now: give single options'),
        (
            {"+train#handlers": [{"_target_": "bundle.handlers.PanelHandler"}]},
            "bundle.handlers.PanelHandler in .* is called bundle.training.PanelHandler now",
        ),
        ({"find_cells": {"_target_": "bundle.instances.ProbabilityToInstancesd"}}, "called bundle.cells.Probability"),
    ],
)
def test_an_overlay_names_its_successor(overlay, message, tmp_path):
    (tmp_path / "old.json").write_text(json.dumps(overlay))
    with pytest.raises(ValueError, match=message):
        require_current_names(["--config_file", f"['{ROOT}/configs/train.json','{tmp_path}/old.json']"])


def test_the_configs_have_current_names():
    for file in (ROOT / "configs").rglob("*.json"):
        if file.parent.name != "studies" and file.name != "metadata.json":
            require_current_names(["--config_file", str(file)])


def test_successors_exist():
    entries = [load_bundle_config(str(ROOT), name) for name in ("train.json", "inference.json")]
    for entry in RENAMED:
        if entry.where == "option":
            parent, _, argument = entry.new.rpartition("#")
            assert any((parent or argument) in config for config in entries), entry
        elif entry.where == "component":
            assert locate(entry.new) is not None, entry
    assert successor("option", "seed") is None
    assert successor("component", "bundle.cells.CellOptions") is None


def test_the_card_of_an_earlier_version_is_understood():
    targets = []

    def look(value):
        if isinstance(value, dict) and str(value.get("_target_", "")).startswith("bundle."):
            targets.append(value["_target_"])
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(item)

    with tarfile.open(ROOT / "tests" / "data" / "legacy" / "models.tar.xz") as archive:
        card = archive.extractfile("models/unet.json")
        assert card is not None
        look(json.load(card))
    assert len(targets) > 20
    for target in targets:
        entry = successor("component", target)
        assert locate(entry.new if entry else target) is not None, target


def test_what_is_read_is_translated():
    assert translated("cells", {"grow": 1, "threshold": 0.5}) == {"close_gaps": 1, "threshold": 0.5}
    assert translated("cells", {"grow": 1, "close_gaps": 2}) == {"close_gaps": 2}
    assert translated("option", {"weigh#1#w0": 0.0, "seed": 1}) == {"weight_map#w0": 0.0, "seed": 1}
    assert translated("option", {"rgb": "refuse"}) == {"channels": "all"}
    assert translated("option", {"rgb": "luminance"}) == {"channels": "luminance"}


def test_the_changelog_has_the_whole_table():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for entry in RENAMED:
        assert f"| `{entry.old}` | `{entry.new}`" in text, entry
