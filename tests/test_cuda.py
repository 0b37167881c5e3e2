"""On a GPU: the same maps as on a CPU, and trainings that learn and go on as they do there."""

import numpy as np
import pytest
import tifffile
import torch
from ignite.engine import Events

from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.passes import dropout_passes
from bundle.model import TrainedNetwork, checkpoints
from bundle.networks import DCN, FCN, FPN, MultiLevel, UNet, WindowCNN
from bundle.tracking.provenance import provenance
from tests.conftest import TINY, table
from tests.inference.test_overlap_tile import one_pass

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")

CUDA = torch.device("cuda")
NETWORKS = {
    "unet": lambda: UNet(2, 1, 2, base_channels=4, depth=3, norm="batch"),
    "unet_same": lambda: UNet(2, 1, 2, base_channels=4, depth=3, padding="same"),
    "dcn": lambda: DCN(2, 1, 2, base_channels=4, norm="batch"),
    "fcn8s": lambda: FCN(2, 1, 2, stride=8, base_channels=2),
    "fpn": lambda: FPN(2, 1, 2, base_channels=4),
    "multilevel": lambda: MultiLevel(2, 1, 2, base_channels=4),
    "window_cnn": lambda: WindowCNN(1, 2, window=65, base_channels=4),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]().double().eval()


def test_a_map_is_that_of_the_cpu(network):
    image = torch.randn(1, 1, 96, 120, dtype=torch.float64)
    expected = OverlapTileInferer()(image, network)
    found = OverlapTileInferer()(image.to(CUDA), network.to(CUDA))
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-9)


def test_tiles_are_one_pass():
    torch.manual_seed(0)
    network = NETWORKS["unet"]().double().eval()
    image = torch.randn(1, 1, 200, 230, dtype=torch.float64)
    expected = one_pass(image, network)
    tile = network.geometry.input_size(network.geometry.step * 8)
    found = OverlapTileInferer(tile_size=tile)(image.to(CUDA), network.to(CUDA))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-9)


def test_the_seed_decides_the_passes_with_dropout_and_the_generators_of_others_go_on():
    network = UNet(2, 1, 2, base_channels=4, depth=2, dropout=0.5).to(CUDA).eval()
    image = torch.randn(1, 60, 60, device=CUDA)
    torch.manual_seed(5)
    undisturbed = torch.rand(3, device=CUDA)
    torch.manual_seed(5)
    first = dropout_passes(network, OverlapTileInferer(), image, 3, 7)
    assert torch.equal(torch.rand(3, device=CUDA), undisturbed)
    assert torch.equal(dropout_passes(network, OverlapTileInferer(), image, 3, 7), first)
    assert not torch.equal(first[0], first[1])


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(workflow, tmp_path):
    class Killed(BaseException):
        pass

    def die(engine):
        raise Killed

    options = {"max_epochs": 4, "val_interval": 2, "device": "cuda"}
    workflow(run_name="whole", **options).run()
    broken = workflow(run_name="broken", **options)
    trainer = broken.parser.get_parsed_content("train#trainer")
    assert next(trainer.network.parameters()).device.type == "cuda"
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=10), die)
    with pytest.raises(Killed):
        broken.run()
    workflow(run_name="broken", resume=True, **options).run()
    whole, resumed = (checkpoints.read(tmp_path / "runs" / name / "best.pt") for name in ("whole", "broken"))
    torch.testing.assert_close(dict(resumed), dict(whole), rtol=0, atol=0)


def test_the_command_line_with_what_it_chooses_on_a_gpu(bundle_run, cells, tmp_path):
    """64 channels, tiles of 572 px and bf16; the cells found are those that the CPU finds with the same weights."""
    place = {"output_dir": str(tmp_path / "runs"), "model_file": str(tmp_path / "model.pt"), "run_name": "wide"}
    few = {"max_epochs": 2, "samples_per_epoch": 20}
    trained = bundle_run("training", "configs/train.json", dataset_dir=str(cells), gpu=True, **place, **few)
    assert trained.returncode == 0, trained.stderr
    assert TrainedNetwork(tmp_path / "model.pt").build().classify.in_channels == 64
    rows = table(tmp_path / "runs" / "wide" / "history.csv")
    losses = [float(row["value"]) for row in rows if row["name"] == "train/loss"]
    assert len(losses) == 40
    assert all(np.isfinite(losses))
    assert provenance()["device"] == torch.cuda.get_device_name(0)
    for name, gpu in (("gpu", True), ("cpu", False)):
        result = bundle_run(
            "run",
            "configs/inference.json",
            dataset_dir=str(cells),
            checkpoint=str(tmp_path / "model.pt"),
            output_dir=str(tmp_path / name),
            precision="fp32",
            gpu=gpu,
        )
        assert result.returncode == 0, result.stderr
    files = sorted(path.name for path in (tmp_path / "gpu").glob("*_probability.tif"))
    assert files
    for name in files:
        found, expected = (tifffile.imread(tmp_path / place / name).astype(float) for place in ("gpu", "cpu"))
        assert np.abs(found - expected).max() < 0.02 * max(1.0, np.abs(expected).max())  # TF32, and 8 bits of the file


def test_an_evaluation_measures_what_the_cpu_measures(bundle_run, cells, tmp_path):
    place = {"dataset_dir": str(cells), "output_dir": str(tmp_path / "runs"), "model_file": str(tmp_path / "model.pt")}
    options = {**TINY, "validation": 2, "best_by": "seg"}
    trained = bundle_run("training", "configs/train.json", run_name="small", gpu=True, **place, **options)
    assert trained.returncode == 0, trained.stderr
    tables = []
    for name, gpu in (("gpu", True), ("cpu", False)):
        files = ["configs/train.json", "configs/evaluate.json"]
        folder = tmp_path / name
        result = bundle_run("evaluating", files, gpu=gpu, evaluation_dir=str(folder), **place, **options)
        assert result.returncode == 0, result.stderr
        assert list((folder / "pictures").glob("*.png"))
        rows = table(folder / "summary.csv")
        tables.append({row["metric"]: float(row["value"] or "nan") for row in rows})
    found, expected = tables
    assert found == pytest.approx(expected, abs=0.02, nan_ok=True)  # TF32 moves a pixel here and there
    assert {"loss", "seg", "rand_error"} <= set(found)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns(workflow, precision):
    quick = {"optimizer#lr": 0.003, "tile_size": 124, "base_channels": 8}
    options = {"max_epochs": 5, "samples_per_epoch": 40, "val_interval": 5, "precision": precision}
    flow = workflow(**options, **quick, device="cuda")
    losses = []
    trainer = flow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: losses.append(engine.state.metrics["mean_loss"]))
    flow.run()
    assert losses[-1] < 0.85 * losses[0]
