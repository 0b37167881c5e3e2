"""Making a network in int8: the commands, what is measured, and what is not written."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch

from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork, checkpoints
from bundle.model.card import read_card
from bundle.model.int8_file import int8_file
from bundle.networks import UNet
from bundle.training import Calibrate
from tests.conftest import TINY, table
from tests.inference.backends.cases import picture

if find_spec("nncf") is None:
    pytest.skip("nncf not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cells):
    """A network of the size of the tests, and annotated images."""
    folder = tmp_path_factory.mktemp("int8")
    torch.manual_seed(0)
    trained = UNet(2, 1, 2, base_channels=4, depth=2, norm="batch")
    trained(torch.randn(4, 1, 60, 60))
    checkpoints.write(folder / "model.pt", trained.eval().state_dict())
    shutil.copytree(cells, folder / "data")
    return folder


def calibrate(bundle_run, folder, **options):
    return bundle_run(
        "calibrating",
        "['configs/train.json','configs/evaluate.json','configs/calibrate.json']",
        **{
            **{name: value for name, value in TINY.items() if name in ("base_channels", "depth", "precision")},
            "dataset_dir": str(folder / "data"),
            "checkpoint": str(folder / "model.pt"),
            "evaluation_dir": str(folder / "measured"),
            "validate#inferer#tile_size": 60,
            "images": 3,
            **options,
        },
    )


def test_the_commands(bundle_run, folder):
    done = calibrate(bundle_run, folder)
    assert done.returncode == 0, done.stderr
    assert "calibrating" in done.stdout
    assert "on 3 images" in done.stdout
    entry = read_card(folder / "model.pt")["int8"]
    assert entry["measured_on"] == {"part": "validation", "images": 1}
    assert entry["measure"] == "seg"
    assert len(entry["calibrated_on"]) == 3
    rows = {row["metric"]: row for row in table(folder / "measured" / "int8.csv")}
    assert float(rows["loss"]["fp32"]) == pytest.approx(entry["before"]["loss"], rel=1e-5)
    assert entry["change"] == entry["int8"]["seg"] - entry["before"]["seg"]
    assert entry["int8"]["loss"] != entry["before"]["loss"]

    probabilities = {}
    for name, options in {
        "whole": {"precision": "int8"},
        "blocks": {"precision": "int8", "by_blocks": True},
        "fp32": {"precision": "fp32", "backend": "openvino"},
    }.items():
        done = bundle_run(
            "inference",
            "configs/inference.json",
            **{"dataset_dir": str(folder / "data" / "test"), "checkpoint": str(folder / "model.pt")},
            **{"output_dir": str(folder / name), "tile_size": 60, **options},
        )
        assert done.returncode == 0, done.stderr
        (row, *_) = table(folder / name / "summary.csv")
        assert (row["network"], row["backend"], row["precision"]) == ("model", "openvino", options["precision"])
        page = (folder / name / "index.html").read_text()
        assert f"Network model, computed by openvino in {options['precision']}. Cells are read by " in page
        assert row["cells_read_by"] in page
        stem = row["output"] if name != "blocks" else None
        if stem:
            probabilities[name] = tifffile.imread(folder / name / f"{stem}_probability.tif")
        else:
            import zarr

            (store,) = sorted(folder.glob("blocks/*.zarr"))[:1]
            probabilities[name] = np.asarray(zarr.open_group(store, mode="r")["0"]).squeeze()
            assert "int8 network" in json.dumps(dict(zarr.open_group(store, mode="r").attrs))
    assert np.array_equal(probabilities["whole"], probabilities["blocks"])
    assert 0 < np.abs(probabilities["whole"] - probabilities["fp32"]).mean() < 0.05

    done = bundle_run(
        "evaluating",
        "['configs/train.json','configs/evaluate.json']",
        **{"dataset_dir": str(folder / "data"), "checkpoint": str(folder / "model.pt"), "precision": "int8"},
        **{
            "evaluation_dir": str(folder / "again"),
            "output_dir": str(folder / "runs"),
            "validate#inferer#tile_size": 60,
        },
    )
    assert done.returncode == 0, done.stderr
    again = {row["metric"]: float(row["value"]) for row in table(folder / "again" / "summary.csv")}
    assert again["loss"] == pytest.approx(entry["int8"]["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": 0}, "images must be a number of at least 1, such as 12, got 0"),
        ({"max_loss": -1}, "max_loss must be a number of at least 0, such as 0.002, got -1"),
        ({"measure": "sharpness"}, "measure must be one of loss, seg, .*, got 'sharpness'"),
    ],
)
def test_what_is_refused(bundle_run, folder, tmp_path, options, said):
    shutil.copytree(folder / "data", tmp_path / "data")
    shutil.copy(folder / "model.pt", tmp_path)
    done = calibrate(bundle_run, tmp_path, **options)
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr
    assert not (tmp_path / "model.int8.pt").exists()


@pytest.mark.parametrize(
    ("measure", "values", "kept"),
    [
        ("seg", (0.8, 0.79), False),
        ("seg", (0.8, 0.799), True),
        ("loss", (0.8, 0.79), True),
        ("loss", (0.8, 0.81), False),
    ],
)
def test_one_that_is_worse_is_not_written(tmp_path, measure, values, kept):
    trained = UNet(2, 1, 2, base_channels=2, depth=1)
    checkpoints.write(tmp_path / "model.pt", trained.state_dict())
    inferer, state = OverlapTileInferer(), SimpleNamespace(metrics={}, epoch_length=7)

    def run():
        state.metrics = {measure: values[inferer.precision == "int8"]}

    calibrate = Calibrate(
        TrainedNetwork(tmp_path / "model.pt"),
        trained,
        [{"image": picture(40, 30)[0], "name": "a"}],
        SimpleNamespace(state=state, run=run),
        inferer,
        **{"measure": measure, "part": "validation", "folder": tmp_path},
    )
    if kept:
        calibrate.run()
        assert read_card(tmp_path / "model.pt")["int8"]["measured_on"] == {"part": "validation", "images": 7}
    else:
        with pytest.raises(
            ValueError, match=r"int8 makes .* worse: .* nothing is written beside it .*--max_loss 0\.01"
        ):
            calibrate.run()
        assert not int8_file(tmp_path / "model.pt").exists()
    assert (tmp_path / "int8.csv").is_file()


def test_a_missing_one_is_named(bundle_run, folder, tmp_path):
    shutil.copy(folder / "model.pt", tmp_path / "other.pt")
    done = bundle_run(
        "inference",
        "configs/inference.json",
        **{"dataset_dir": str(folder / "data" / "test"), "checkpoint": str(tmp_path / "other.pt"), "precision": "int8"},
        output_dir=str(tmp_path / "out"),
    )
    assert done.returncode == 1
    assert "other.int8.pt, which does not exist: make one by monai.bundle run calibrating" in done.stderr
