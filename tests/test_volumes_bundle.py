"""Volumes through the configs: trained, resumed, evaluated, applied and exported on the command line."""

import json

import numpy as np
import pytest
import tifffile
import torch
from monai.bundle import ckpt_export

from bundle.cells import probability_to_instances
from bundle.data.synthetic import make_dataset
from bundle.geometry import geometry_of
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork
from tests.conftest import ROOT, table
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
    assert card["cells"]["spacing"] == pytest.approx([1, 1, 4])
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
    network = TrainedNetwork(folder / "model.pt").load().eval()
    volume = torch.as_tensor(Standardize(spatial_dims=3)(stack.transpose(2, 1, 0)[None].astype(np.float32)))
    logits = OverlapTileInferer(network.geometry.input_sizes(volume.shape[1:]))(volume[None], network)
    expected = logits.softmax(1)[0, 1].numpy()
    threshold = float(np.quantile(expected, 0.7))
    options = {"dataset_dir": str(images), "output_dir": str(folder / "out"), "checkpoint": places["model_file"]}
    options |= {"cells#threshold": threshold}
    result = bundle_run("run", "configs/inference.json", precision="fp32", **options)
    assert result.returncode == 0, result.stderr
    said = result.stdout + result.stderr
    assert "its spacing is 0.5 x 0.5 x 1 µm, the network was trained at 0.5 x 0.5 x 2 µm" in said
    assert said.count("a volume of 26 x 25 x 7 voxels is thinner along axis 2 than the margin") == 1

    found = tifffile.imread(folder / "out" / "thin_probability.tif").transpose(2, 1, 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)

    cells = tifffile.imread(folder / "out" / "thin_cells.tif")
    options = TrainedNetwork(folder / "model.pt").cell_options(threshold=threshold)
    np.testing.assert_array_equal(cells.transpose(2, 1, 0), probability_to_instances(found, options))
    assert cells.max() > 0
    rows = table(folder / "out" / "thin_cells.csv")
    assert [int(row["voxels"]) for row in rows] == np.bincount(cells.ravel())[1:].tolist()
    (of_all,) = table(folder / "out" / "summary.csv")
    if rows:
        assert float(of_all["mean_cell_voxels"]) == pytest.approx((cells > 0).sum() / len(rows), abs=0.01)
        assert "mean_cell_area_px" not in of_all  # a volume has none
        assert float(rows[0]["volume_um3"]) == pytest.approx(int(rows[0]["voxels"]) * 0.25, rel=1e-4)
        assert float(of_all["mean_cell_volume_um3"]) == pytest.approx((cells > 0).sum() / len(rows) * 0.25, rel=1e-4)


def test_a_volume_need_not_state_its_spacing(trained, bundle_run):
    folder, places = trained
    (folder / "plain").mkdir()
    stack = tifffile.imread(folder / "set" / "test" / "image" / "003.tif")[:7, :25]
    tifffile.imwrite(folder / "plain" / "a.tif", stack, photometric="minisblack")
    options = {"dataset_dir": str(folder / "plain"), "checkpoint": places["model_file"], "cells#threshold": 0.05}
    result = bundle_run("run", "configs/inference.json", output_dir=str(folder / "plain_out"), **options)
    assert result.returncode == 0, result.stderr
    cells = tifffile.imread(folder / "plain_out" / "a_cells.tif")
    rows = table(folder / "plain_out" / "a_cells.csv")
    assert [int(row["voxels"]) for row in rows] == np.bincount(cells.ravel())[1:].tolist() != []
    assert {row["volume_um3"] for row in rows} == {""}


def test_export_keeps_the_sizes_of_every_axis(trained):
    folder, places = trained
    exported, model = str(folder / "model.ts"), places["model_file"]
    files = {"meta_file": str(ROOT / "configs/metadata.json"), "config_file": str(ROOT / "configs/inference.json")}
    ckpt_export("network_def", exported, ckpt_file=model, checkpoint=model, **files)
    scripted, network = torch.jit.load(exported).eval(), TrainedNetwork(folder / "model.pt").load().eval()
    assert geometry_of(scripted) == network.geometry
    volume = torch.randn(1, 1, 20, 12, 7)
    torch.testing.assert_close(OverlapTileInferer()(volume, scripted), OverlapTileInferer()(volume, network))
