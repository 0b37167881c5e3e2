"""The folder that MONAI Label starts from, made without MONAI Label; tests/label asks the real server."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.atomic import sha256
from bundle.model import TrainedNetwork, checkpoints
from bundle.model.card import write_card
from bundle.networks import DCN, UNet
from label_app.outcome import outcome
from label_app.partition import partition
from label_app.prepare import _main, prepare
from label_app.torch_build import require_one_build
from tests.conftest import ROOT


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    checkpoints.write(tmp_path / "tiny.pt", UNet(2, 1, 2, base_channels=2, depth=2, norm="batch").state_dict())
    return tmp_path / "tiny.pt"


def test_it_says_which_network_it_begins_or_goes_on_with(tmp_path, model, caplog):
    with caplog.at_level(logging.INFO):
        folder = prepare(tmp_path / "app", model=model)
        assert f"starting with a copy of {model}: of unknown training" in caplog.text
        caplog.clear()
        prepare(tmp_path / "app", model=model)
    assert f"an earlier start, {folder / 'models' / 'model.pt'}: of unknown training" in caplog.text
    assert "a copy of" not in caplog.text


def test_torchvision_of_another_build_is_said_before_the_server_fails(tmp_path, model, monkeypatch):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    (tmp_path / "torchvision-0.28.0.dist-info").mkdir()
    (tmp_path / "torchvision-0.28.0.dist-info" / "METADATA").write_text("Name: torchvision\nVersion: 0.28.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "argv", ["prepare", "--app", str(tmp_path / "app"), "--model", str(model)])
    with pytest.raises(SystemExit) as ended:
        _main()
    assert str(ended.value).startswith("error: torchvision 0.28.0 is no match for torch")
    assert "pip install --force-reinstall --index-url https://" in str(ended.value)
    assert not (tmp_path / "app").exists()


def test_builds_are_compared_before_anything_is_downloaded():
    for torch_version, torchvision in (("2.13.0", "0.28.0"), ("2.13.0+cpu", "0.28.0+cpu")):
        require_one_build(torch_version, torchvision)
    with pytest.raises(RuntimeError, match=r"--index-url https://download.pytorch.org/whl/cpu -c constraints-label"):
        require_one_build("2.13.0+cpu", "0.28.0")
    with pytest.raises(RuntimeError, match=r"--index-url https://pypi.org/simple"):
        require_one_build("2.13.0", "0.28.0+cpu")


def test_the_server_ends_with_make(tmp_path):
    """With stand-ins for Python and for the server, which notes the number of its process."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *start_server*) echo $$ > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid;'
        " exec sleep 60;; esac\n"
    )
    python.chmod(0o755)
    (tmp_path / "venv" / ".installed").touch()
    make = ["make", "label", f"LABEL_VENV={tmp_path / 'venv'}", f"STUDIES={tmp_path}"]
    process = subprocess.Popen(make, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "pid").is_file():
        assert process.poll() is None
        time.sleep(0.05)
    server = int((tmp_path / "pid").read_text())
    process.terminate()
    try:
        printed, _ = process.communicate(timeout=20)  # the server holds the pipe, too
    except subprocess.TimeoutExpired:
        os.kill(server, signal.SIGKILL)
        raise
    assert "http://127.0.0.1:8000 as soon as" in printed


def test_what_came_out_of_a_training(tmp_path, model):
    folder = prepare(tmp_path / "app", model=model)
    began = time.time()
    network = {"file": "model.pt", "sha256": sha256(folder / "models" / "model.pt")}
    assert outcome(folder, began) == {"model": network}
    (folder / "runs" / "one").mkdir(parents=True)
    result = {"epochs": 2, "steps": 8, "best_epoch": 1, "seg": 0.5}
    write_card(folder / "runs" / "one" / "card.json", {"mlflow_run_id": "abc", "result": result})
    told = {"result": result, "run": {"name": "one", "mlflow_run_id": "abc"}, "model": network}
    assert outcome(folder, began) == told
    assert outcome(folder, began + 60) == {"model": network}  # that run was another request's


def entries(folder):
    return json.loads((folder / "configs" / "train.json").read_text())


def test_what_the_network_was_trained_with_goes_on(tmp_path, model):
    write_card(model.with_suffix(".json"), {"config": {"cells": {"threshold": 0.8, "min_size": 300}}}, of=model)
    folder = prepare(tmp_path / "app", model=model)
    assert (entries(folder)["cells"]["threshold"], entries(folder)["cells"]["min_size"]) == (0.8, 300)
    assert entries(folder)["image"].endswith("or_luminance()")
    assert entries(folder)["publish"] == "always"  # MONAI Label looks nowhere else for what it has trained
    assert TrainedNetwork(folder / "models" / "model.pt").card["config"]["cells"]["min_size"] == 300


def test_what_describes_another_network_does_not_come_along(tmp_path, model):
    write_card(model.with_suffix(".json"), {"config": {"cells": {"threshold": 0.8}}}, of=model)
    checkpoints.write(model, UNet(2, 1, 2, base_channels=4, depth=2, norm="batch").state_dict())
    with pytest.raises(ValueError, match=r"describes another file .* --trust_weights true"):
        prepare(tmp_path / "app", model=model)
    folder = prepare(tmp_path / "app", model=model, trust_weights=True)
    assert not (folder / "models" / "model.json").exists()
    assert entries(folder)["cells"]["threshold"] == 0.5
    assert entries(folder)["base_channels"] == 4


def test_a_model_that_is_refused_leaves_nothing_behind(tmp_path, model):
    checkpoints.write(tmp_path / "dcn.pt", DCN(2, 1, 2, base_channels=2).state_dict())
    write_card(tmp_path / "dcn.json", {"network": {"_target_": "bundle.networks.DCN", "base_channels": 2}})
    with pytest.raises(ValueError, match="DCN"):
        prepare(tmp_path / "app", model=tmp_path / "dcn.pt")
    named = {"class_names": ["background", "rod", "sphere"], "max_epoch": 3}
    with pytest.raises(ValueError, match="option 'max_epoch' is no entry"):
        prepare(tmp_path / "app", model=model, options=named)
    assert not (tmp_path / "app").exists()
    assert prepare(tmp_path / "app", model=model).is_dir()


def test_the_apps_own_main_may_be_given(tmp_path, model):
    prepare(tmp_path / "app", model=model)
    own = tmp_path / "app" / "main.py"
    own.write_text("# mine")
    prepare(tmp_path / "app", model=model, main=own)
    assert own.read_text() == "# mine"


names = st.lists(st.text("abcdefgh0123456789", min_size=1, max_size=6), min_size=2, max_size=30, unique=True)


@given(names, names, st.floats(0.01, 0.99))
def test_an_image_that_was_trained_on_never_chooses_a_later_checkpoint(first, more, share):
    before = [{"image": f"studies/{name}.tif"} for name in first]
    after = [{"image": f"moved/{name}.tif"} for name in sorted({*first, *more})]
    trained, kept = partition(before, share)
    _, chooses = partition(after, share)
    assert sorted(item["image"] for item in [*trained, *kept]) == sorted(item["image"] for item in before)
    assert trained
    assert kept
    trained_names = {item["image"].split("/")[1] for item in trained}
    if len(trained) > 1:  # of a single one it cannot be said: one at least is trained on
        assert not trained_names & {item["image"].split("/")[1] for item in chooses}


def test_the_share_of_many_images_and_of_slices():
    items = [{"image": "a.tif", "slice": number} for number in range(1000)]
    trained, kept = partition(items, 0.2)
    assert 150 < len(kept) < 250
    assert len(trained) + len(kept) == 1000
    assert max(item["slice"] for item in kept) - min(item["slice"] for item in kept) > 900
