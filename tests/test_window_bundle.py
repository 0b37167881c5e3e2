"""The window network through the configs: trained on balanced windows, validated and applied by its dense form."""

import re

import mlflow
import numpy as np
import pytest
import tifffile
import torch

from bundle.data.synthetic_classes import make_class_dataset
from bundle.model import TrainedNetwork
from bundle.networks import WindowCNN
from bundle.networks.window_cnn import per_pixel
from tests.conftest import TINY, said_by, table
from transforms import Standardize

OVERLAY = "networks/window_cnn.json"
SIZE = {"window": 65, "base_channels": 2, "windows_a_step": 6, "tile_size": 80, "max_epochs": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bundle_run, cells):
    """A network after one epoch on the command line, and the folder with all that it left."""
    folder = tmp_path_factory.mktemp("windows")
    result = bundle_run(
        "training",
        ["configs/train.json", f"configs/{OVERLAY}"],
        dataset_dir=str(cells),
        output_dir=str(folder / "runs"),
        model_file=str(folder / "model.pt"),
        run_name="first",
        **{name: value for name, value in (TINY | SIZE).items() if name != "depth"},
    )
    assert result.returncode == 0, result.stderr
    return folder


def test_a_step_is_a_balanced_batch_of_windows(workflow) -> None:
    parsed = workflow(OVERLAY, **(SIZE | {"tile_size": 160})).parser.get_parsed_content
    network, loss = parsed("network_def"), parsed("loss")
    for batch in parsed("train#dataloader"):
        image, target = parsed("train#trainer").prepare_batch(batch)
        assert image.shape == (6, 1, 65, 65)
        assert target.shape == (6, 2, 1, 1)
        assert target[:, 0].sum() == 3
        assert (target[:, 1] == 1).all()
        expected = torch.nn.functional.cross_entropy(network(image)[:, :, 0, 0], target[:, 0, 0, 0].long())
        torch.testing.assert_close(loss(network(image), target), expected)


def test_several_classes_share_a_batch(workflow, tmp_path) -> None:
    data = make_class_dataset(tmp_path / "classes", count=2, size=(96, 100), truth="instances+classes")
    parsed = workflow(
        OVERLAY, dataset_dir=str(data), **(SIZE | {"windows_a_step": 16, "tile_size": 160})
    ).parser.get_parsed_content
    assert parsed("network_def").classify.out_channels == 4
    target = torch.cat([parsed("train#trainer").prepare_batch(batch)[1] for batch in parsed("train#dataloader")])
    assert set(target[:, 0].unique().tolist()) == {0, 1, 2, 3}
    image = torch.zeros(len(target), parsed("image").count, 65, 65)
    assert torch.isfinite(parsed("loss")(parsed("network_def")(image), target))


def test_training_leaves_a_network_validated_and_described(trained) -> None:
    rows = table(trained / "runs" / "first" / "history.csv")
    assert sum(row["name"] == "train/loss" for row in rows) == TINY["samples_per_epoch"]
    assert {"val/loss", "val/iou", "val/rand_error"} <= {row["name"] for row in rows}
    network = TrainedNetwork(trained / "model.pt").build()
    assert isinstance(network, WindowCNN)
    assert (network.window, network.stages[1].out_channels) == (65, 2)
    TrainedNetwork(trained / "model.pt").load(network)
    client = mlflow.MlflowClient(f"sqlite:///{trained / 'runs' / 'mlflow.db'}")
    (run,) = [run for e in client.search_experiments() for run in client.search_runs(e.experiment_id)]
    logged = {
        name: run.data.params[name] for name in ("network", "window", "depth", "windows_a_step", "w0", "optimizer")
    }
    assert logged == {
        "network": "WindowCNN",
        "window": "65",
        "depth": "3",
        "windows_a_step": "6",
        "w0": "0.0",
        "optimizer": "Adam",
    }


def test_inference_is_one_window_a_pixel_of_the_mirrored_image(trained, bundle_run) -> None:
    images = trained / "images"
    images.mkdir()
    picture = np.random.RandomState(0).randint(0, 255, (66, 72)).astype(np.uint8)
    tifffile.imwrite(images / "odd.tif", picture, photometric="minisblack")
    options = {"dataset_dir": str(images), "output_dir": str(trained / "out"), "checkpoint": str(trained / "model.pt")}
    result = bundle_run("run", "configs/inference.json", precision="fp32", tile_size=100, **options)
    assert result.returncode == 0, result.stderr
    network = TrainedNetwork(trained / "model.pt").build().eval()
    TrainedNetwork(trained / "model.pt").load(network)
    seen = torch.as_tensor(Standardize()(picture.T[None]), dtype=torch.float32)[None]
    region = [(0, 72), (60, 66)]  # axes in MONAI's order
    expected = per_pixel(network, seen, region).softmax(1)[0, 1].T
    (file,) = (trained / "out").rglob("odd_probability.tif")
    np.testing.assert_allclose(tifffile.imread(file)[60:], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"window": 71}, "window must be 65 or 95 px, got 71; the nearest is 65"),
        ({"window": 64}, "window must be 65 or 95 px, got 64; the nearest is 65"),
        ({"window": 65.0}, "window must be 65 or 95 px, got 65.0; the nearest is 65"),
        ({"tile_size": 60}, r"window 65 px is larger than the image of \(60, 60\) px: the smallest .* tile_size"),
        ({"windows_a_step": 5}, "num_samples must be an even integer"),
    ],
)
def test_what_does_not_fit_is_said(workflow, option: dict, message: str) -> None:
    assert re.search(message, said_by(workflow(OVERLAY, **(SIZE | option)).run))
