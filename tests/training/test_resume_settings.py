"""What fixes what is trained, and what changes the speed alone."""

import pytest
from monai.bundle import ConfigParser

from bundle.training.resume_settings import changed_settings, training_settings
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
