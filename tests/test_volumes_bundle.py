"""Volumes through the configs: trained, resumed, evaluated, applied and exported on the command line."""

import csv
import json
import re

import numpy as np
import pytest
import tifffile
import torch

from bundle.data.synthetic import make_dataset
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork
from tests.test_evaluating import summary
from transforms import Standardize

OVERLAYS = ["configs/train.json", "configs/volumes.json"]
SIZE = {"base_channels": 2, "samples_per_epoch": 1, "val_interval": 1, "tile_memory": "40 MiB", "precision": "fp32"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bundle_run):
    """A network of anisotropic volumes after two epochs, the second of them resumed, and where it lies."""
    folder = tmp_path_factory.mktemp("volumes")
    make_dataset(folder / "set", 3, (30, 26, 16), 0, (0.5, 0.5, 2.0))
    places = {
        "dataset_dir": str(folder / "set"),
        "output_dir": str(folder / "runs"),
        "model_file": str(folder / "model.pt"),
    }
    for epochs in (1, 2):
        options = {"run_name": "volumes", "max_epochs": epochs, "resume": epochs > 1}
        result = bundle_run("training", OVERLAYS, **places, **SIZE, **options)
        assert result.returncode == 0, result.stderr
    return folder, places


def test_the_card_has_spacing_and_flat_levels(trained):
    folder, _ = trained
    network = TrainedNetwork(folder / "model.pt").build()
    assert network.flat_levels == [0, 0, 1]
    card = json.loads((folder / "model.json").read_text())
    assert card["cells"]["spatial_dims"] == 3
    assert card["image"]["spacing"] == pytest.approx([0.5, 0.5, 2.0])


def test_evaluation_measures_whole_volumes(trained, bundle_run):
    folder, places = trained
    result = bundle_run(
        "evaluating", [*OVERLAYS, "configs/evaluate.json"], evaluation_dir=str(folder / "evaluation"), **places
    )
    assert result.returncode == 0, result.stderr
    assert 0 <= summary(folder / "evaluation")["iou"] <= 1
    assert list((folder / "evaluation" / "pictures").glob("*.png"))


def test_inference_is_one_pass_over_each_whole_volume(trained, bundle_run):
    folder, places = trained
    images = folder / "images"
    images.mkdir()
    stack = tifffile.imread(folder / "set" / "test" / "image" / "003.tif")[:7, :25]
    notes = {"axes": "ZYX", "unit": "um", "spacing": 1.0}
    tifffile.imwrite(images / "thin.tif", stack, imagej=True, resolution=(2, 2), metadata=notes)
    options = {"dataset_dir": str(images), "output_dir": str(folder / "out"), "checkpoint": places["model_file"]}
    result = bundle_run("run", "configs/inference.json", precision="fp32", **options)
    assert result.returncode == 0, result.stderr
    assert "its spacing is 0.5 x 0.5 x 1 µm, the network was trained at 0.5 x 0.5 x 2 µm" in result.stderr
    assert len(re.findall("a volume of 26 x 25 x 7 voxels is thinner along axis 2 than the margin", result.stderr)) == 1

    network = TrainedNetwork(folder / "model.pt").load().eval()
    volume = torch.as_tensor(Standardize(spatial_dims=3)(stack.transpose(2, 1, 0)[None].astype(np.float32)))
    expected = OverlapTileInferer(network.geometry.input_sizes(volume.shape[1:]))(volume[None], network)
    found = tifffile.imread(folder / "out" / "thin_probability.tif").transpose(2, 1, 0)
    np.testing.assert_allclose(found, expected.softmax(1)[0, 1].numpy(), atol=1e-4)

    cells = tifffile.imread(folder / "out" / "thin_cells.tif")
    rows = list(csv.DictReader(open(folder / "out" / "thin_cells.csv")))
    assert [int(row["voxels"]) for row in rows] == np.bincount(cells.ravel())[1:].tolist()
    (of_all,) = csv.DictReader(open(folder / "out" / "summary.csv"))
    if rows:
        assert float(rows[0]["volume_um3"]) == pytest.approx(int(rows[0]["voxels"]) * 0.25, rel=1e-4)
        assert float(of_all["mean_cell_volume_um3"]) == pytest.approx((cells > 0).sum() / len(rows) * 0.25, rel=1e-4)


def test_a_stack_is_refused_where_one_slice_is_meant(trained, bundle_run):
    folder, places = trained
    plane = folder / "plane.tif"
    tifffile.imwrite(plane, np.zeros((30, 30), np.uint8))
    options = {"dataset_dir": str(plane), "output_dir": str(folder / "plane"), "checkpoint": places["model_file"]}
    result = bundle_run("run", "configs/inference.json", **options)
    assert result.returncode != 0
    assert "2 axes where spatial_dims asks for 3" in result.stderr


def test_volumes_whose_spacing_differs_are_refused(tmp_path, bundle_run):
    for number, spacing in enumerate(((1, 1, 1), (1, 1, 3))):
        make_dataset(tmp_path / str(number), 1, (30, 26, 16), number, spacing)
        for kind in ("image", "label"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / str(number) / kind / "000.tif").rename(tmp_path / kind / f"{number}.tif")
    places = {"output_dir": str(tmp_path / "runs"), "model_file": str(tmp_path / "model.pt")}
    result = bundle_run("training", OVERLAYS, dataset_dir=str(tmp_path), **places, **SIZE)
    assert result.returncode != 0
    assert "its spacing is 1 x 1 x 3 µm, that of" in result.stderr
    assert "Traceback" not in result.stderr
