"""A network of norm "image" from its training to every way of using it, by the commands of a person."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tifffile
import zarr

SMALL = {"base_channels": 3, "depth": 2, "tile_size": 60, "max_epochs": 2, "samples_per_epoch": 6, "precision": "fp32"}


@pytest.fixture(scope="module")
def trained(bundle_run, cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("norm_image")
    done = bundle_run(
        *("training", "configs/train.json"),
        **{"dataset_dir": str(cells), "output_dir": str(folder), "run_name": "image", "network_def#norm": "image"},
        **{"model_file": str(folder / "model.pt"), "publish": "always", **SMALL},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "image" / "best.pt"


def infer(bundle_run, cells, checkpoint, out, **options):
    done = bundle_run(
        *("inference", "configs/inference.json"),
        **{"dataset_dir": str(cells / "image"), "checkpoint": str(checkpoint), "output_dir": str(out)},
        **{"precision": "fp32", "cells#threshold": 0.5, **options},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def probability(folder, name):
    return tifffile.imread(folder / f"{name}_probability.tif")


def test_the_card_says_it_and_the_weights_do_without_it(trained, bundle_run, cells, tmp_path):
    assert json.loads(trained.with_name("card.json").read_text())["network"]["norm"] == "image"
    infer(bundle_run, cells, trained, tmp_path / "with")
    bare = shutil.copy(trained, tmp_path / "bare.pt")
    infer(bundle_run, cells, bare, tmp_path / "without")
    for file in (tmp_path / "with").glob("*_probability.tif"):
        np.testing.assert_array_equal(tifffile.imread(file), tifffile.imread(tmp_path / "without" / file.name))


def test_tiles_and_blocks_give_the_same(trained, bundle_run, cells, tmp_path):
    infer(bundle_run, cells, trained, tmp_path / "whole", tile_size=132)
    infer(bundle_run, cells, trained, tmp_path / "tiles", tile_size=60)
    infer(bundle_run, cells, trained, tmp_path / "blocks", tile_size=132, by_blocks=True, block_size=92)
    for image in (cells / "image").iterdir():
        expected = probability(tmp_path / "whole", image.stem)
        np.testing.assert_allclose(probability(tmp_path / "tiles", image.stem), expected, atol=2e-3)
        stored = zarr.open_group(tmp_path / "blocks" / f"{image.stem}_segmentation.ome.zarr", mode="r")
        found = np.asarray(stored["0"]).squeeze()
        np.testing.assert_allclose(found / (255 if found.dtype == np.uint8 else 1), expected, atol=5e-3)


def test_what_needs_one_network_for_all_images_is_refused(trained, bundle_run, cells, tmp_path):
    files = ["configs/inference.json", "configs/package.json"]
    done = bundle_run("packaging", files, checkpoint=str(trained), package_dir=str(tmp_path / "p"), authors=["A"])
    assert done.returncode != 0
    assert "has norm 'image', the statistics of each image" in done.stdout + done.stderr
