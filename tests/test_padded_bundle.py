"""The padded control through the configs: trained, evaluated and applied on the command line."""

import numpy as np
import pytest
import tifffile
import torch

from bundle.model import TrainedNetwork, checkpoints
from tests.conftest import TINY, said_by
from tests.test_evaluating import summary
from transforms import Standardize


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bundle_run, cells):
    """A padded network after one epoch, and the options that say where it lies."""
    folder = tmp_path_factory.mktemp("padded")
    places = {
        "dataset_dir": str(cells),
        "output_dir": str(folder / "runs"),
        "model_file": str(folder / "model.pt"),
    }
    size = TINY | {"depth": 2, "tile_size": 64, "max_epochs": 1}
    result = bundle_run("training", "configs/train.json", padding="same", run_name="padded", **places, **size)
    assert result.returncode == 0, result.stderr
    return folder, places


def test_the_checkpoint_says_that_it_is_padded(trained):
    folder, _ = trained
    assert TrainedNetwork(folder / "model.pt").definition()[1]["padding"] == "same"


def test_evaluation_measures_what_the_validation_measured(trained, bundle_run):
    """Without a word about padding on the command line: the checkpoint says it."""
    folder, places = trained
    result = bundle_run(
        "evaluating",
        ["configs/train.json", "configs/evaluate.json"],
        evaluation_dir=str(folder / "evaluation"),
        precision="fp32",
        **places,
    )
    assert result.returncode == 0, result.stderr
    best = checkpoints.read(folder / "runs" / "padded" / "last.pt")["best_metric"]
    assert summary(folder / "evaluation")["loss"] == pytest.approx(best, rel=1e-5)


def test_inference_is_one_pass_over_each_whole_image(trained, bundle_run):
    folder, places = trained
    images = folder / "images"
    images.mkdir()
    picture = np.random.RandomState(0).randint(0, 255, (41, 60)).astype(np.uint8)
    tifffile.imwrite(images / "odd.tif", picture, photometric="minisblack")
    options = {"dataset_dir": str(images), "output_dir": str(folder / "out"), "checkpoint": places["model_file"]}
    result = bundle_run("run", "configs/inference.json", precision="fp32", **options)
    assert result.returncode == 0, result.stderr
    network = TrainedNetwork(folder / "model.pt").load().eval()
    seen = np.pad(Standardize()(picture.T[None]), [(0, 0), (0, 0), (0, 3)], mode="reflect")
    with torch.no_grad():
        expected = network(torch.as_tensor(seen, dtype=torch.float32)[None]).softmax(1)[0, 1, :, :41].T
    (file,) = (folder / "out").rglob("odd_probability.tif")
    np.testing.assert_allclose(tifffile.imread(file), expected, atol=1e-4)


def test_a_tile_size_that_is_no_multiple_names_the_nearest(workflow):
    assert "valid sizes are multiples of 4; the nearest are 60 and 64" in said_by(
        workflow(padding="same", tile_size=62).run
    )


def test_neither_padding_crops_what_the_other_does(workflow):
    """What is labelled is what comes out: all of a padded tile, the middle of a valid one."""
    for padding, size in (("valid", 20), ("same", 60)):
        parsed = workflow(padding=padding).parser.get_parsed_content
        sample, network = parsed("train#dataset")[0], parsed("network_def").eval()
        assert sample["image"].shape[1:] == (60, 60)
        assert sample["label"].shape[1:] == sample["weight"].shape[1:] == (size, size)
        assert network(sample["image"][None].as_tensor()).shape[2:] == (size, size)
