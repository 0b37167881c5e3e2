"""The folder that MONAI Label starts from, made without MONAI Label; tests/label asks the real server."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from bundle import checkpoints
from bundle.networks import UNet
from label_app.prepare import prepare
from tests.conftest import ROOT


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    checkpoints.write(tmp_path / "tiny.pt", UNet(2, 1, 2, base_channels=2, depth=2, norm="batch").state_dict())
    return tmp_path / "tiny.pt"


def test_it_says_which_network_it_begins_or_goes_on_with(tmp_path, model, caplog):
    with caplog.at_level(logging.INFO):
        folder = prepare(tmp_path / "app", model=model)
        assert f"begins with a copy of {model}: of unknown training" in caplog.text
        caplog.clear()
        prepare(tmp_path / "app", model=model)
    assert f"goes on with {folder / 'models' / 'model.pt'}" in caplog.text
    assert "begins" not in caplog.text


def test_torchvision_of_another_build_is_said_before_the_server_fails(tmp_path, model):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    (tmp_path / "torchvision-0.28.0.dist-info").mkdir()
    (tmp_path / "torchvision-0.28.0.dist-info" / "METADATA").write_text("Name: torchvision\nVersion: 0.28.0\n")
    done = subprocess.run(
        [sys.executable, "-m", "label_app.prepare", "--app", str(tmp_path / "app"), "--model", str(model)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: torchvision 0.28.0 is no match for torch")
    assert "pip install --force-reinstall" in done.stderr
    assert not (tmp_path / "app").exists()
