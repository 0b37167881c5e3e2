"""What fixes what is trained, and what changes the speed alone."""

import pytest
from monai.bundle import ConfigParser

from bundle.training.resume_settings import changed_settings, how_to_resume, training_settings
from tests.conftest import ROOT


@pytest.mark.parametrize(("device", "fused"), [("cuda", True), ("cpu", None)])
def test_a_run_goes_on_with_an_optimizer_that_is_fused_on_a_gpu_or_not(device, fused):
    config = ConfigParser.load_config_file(ROOT / "configs" / "train.json")
    parser = ConfigParser({**config, "device": f"$torch.device('{device}')"})
    assert parser.get_parsed_content("optimizer#fused") is fused
    now = training_settings(config)
    assert now["optimizer.lr"] == "0.001"
    del config["optimizer"]["fused"]  # of a run that was begun before
    assert changed_settings(training_settings(config), now) == []
    config["optimizer"]["lr"] = 0.1
    assert changed_settings(training_settings(config), now) == ["optimizer.lr 0.001 instead of 0.1"]


def test_a_run_from_before_tiles_were_blurred_goes_on_with_the_tiles_of_then():
    entries = {
        "elastic": {"sigma": 10.0, "scale_range": 0.2},
        "blur": {"prob": 0.3},
        "gray_values": {"transforms": ["@gray_curve", "@blur"]},
        "augment": ["@elastic", "@gray_values"],
    }
    now = training_settings(ConfigParser(entries))
    before = training_settings(ConfigParser({"elastic": {"sigma": 10.0}, "augment": ["@elastic", "@gray_curve"]}))
    assert len(changed_settings(before, now)) == 5
    assert "with configs/ablation/fewer_changes.json right behind train.json" in how_to_resume(before, now)
    parser = ConfigParser(entries)
    overlay = ConfigParser.load_config_file(str(ROOT / "configs/ablation/fewer_changes.json"))
    for name in ("elastic#scale_range", "augment"):
        parser[name.replace("#", "::")] = overlay[name]
    as_then = training_settings(parser)
    assert changed_settings(before, as_then) == []
    assert changed_settings(as_then, as_then) == []
    assert changed_settings(now, as_then) != []
    assert "ablation" not in how_to_resume(now, as_then)
