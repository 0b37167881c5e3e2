"""Every overlay of a network trains, is evaluated and segments, its checkpoint saying by itself what it is."""

import json

import numpy as np
import pytest
import tifffile
from monai.bundle import ConfigParser

from bundle.geometry import PaddedGeometry
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork, checkpoints
from bundle.tracking.config import flat_config
from tests.conftest import ROOT, inference
from tests.test_evaluating import summary
from transforms import Standardize

#: overlay -> its network, the multiple that its tiles are (TINY asks for tiles of 60 px), arguments it must have
OVERLAYS = {
    "dcn": ("DCN", 8, {"kernels": [4, 8, 16], "auxiliary": True}),
    "fcn": ("FCN", 32, {"stride": 8}),
    "fpn": ("FPN", 16, {}),
    "multilevel": ("MultiLevel", 16, {"levels": [0, 1, 2, 3, 4]}),
    "unet_same": ("UNet", 4, {"padding": "same", "depth": 2}),
}
#: trained on windows and not on tiles, with tests of its own
OTHERS = {"window_cnn"}


def test_every_overlay_is_tested():
    assert {path.stem for path in (ROOT / "configs" / "networks").glob("*.json")} == {*OVERLAYS, *OTHERS}


@pytest.mark.parametrize("name", OVERLAYS)
def test_it_trains_is_evaluated_and_segments(name, workflow, cells, tmp_path, monkeypatch):
    target, step, arguments = OVERLAYS[name]
    options = {"run_name": name, "max_epochs": 1}
    flow = workflow(f"networks/{name}.json", **options)
    sample = flow.parser.get_parsed_content("train#dataset")[0]
    flow.run()

    # the tile is the next larger one that the network takes, and labelled to its edge
    side = PaddedGeometry(step).input_size(60)
    for key in ("image", "label", "weight"):
        assert sample[key].shape == (1, side, side)
    for file in (tmp_path / "model.json", tmp_path / "runs" / name / "card.json"):
        entry = json.loads(file.read_text())["network"]
        assert entry["_target_"] == f"bundle.networks.{target}"
        assert entry["base_channels"] == 2
        assert entry.items() >= arguments.items()

    # nothing is said about the network from here on
    best = checkpoints.read(tmp_path / "runs" / name / "last.pt")["best_metric"]
    evaluation = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / "evaluation")}
    workflow("evaluate.json", **options, **evaluation).run()
    assert summary(tmp_path / "evaluation")["loss"] == pytest.approx(best, rel=1e-5)
    evaluation["evaluation_dir"] = str(tmp_path / "as a study does")
    workflow(f"networks/{name}.json", "evaluate.json", **options, **evaluation).run()
    assert summary(tmp_path / "as a study does") == summary(tmp_path / "evaluation")

    picture = np.random.RandomState(0).randint(0, 255, (41, 60)).astype(np.uint8)
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "odd.tif", picture, photometric="minisblack")
    places = {"dataset_dir": tmp_path / "images", "output_dir": tmp_path / "out", "checkpoint": tmp_path / "model.pt"}
    inference(precision="fp32", **places).run()
    network = TrainedNetwork(tmp_path / "model.pt").load().eval()
    assert type(network).__name__ == target
    logits = OverlapTileInferer()(Standardize()(picture.T[None])[None].float(), network)
    (file,) = (tmp_path / "out").rglob("odd_probability.tif")
    np.testing.assert_allclose(tifffile.imread(file), logits.softmax(1)[0, 1].T, atol=1e-4)


@pytest.mark.parametrize("name", OVERLAYS)
def test_it_changes_the_network_and_what_the_network_asks_for(name):
    def entries(*files: str) -> dict[str, str]:
        parser = ConfigParser()
        parser.read_config([str(ROOT / "configs" / file) for file in files])
        return dict(flat_config(parser))

    before, after = entries("train.json"), entries("train.json", f"networks/{name}.json")
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    allowed = ("network_def.", "elastic.spatial_size", "tracker.params.", "padding")
    if name == "dcn":
        allowed += ("auxiliary_loss.", "train.handlers.")
    assert {key for key in changed if not key.startswith(allowed)} == set()
    assert after["elastic.spatial_size"] == "$@network_def.geometry.input_size(@tile_size)"
    lost = {key for key in before if key not in after}
    assert all(key.startswith("network_def.") for key in lost)


def test_the_tracker_is_told_what_the_network_is(workflow):
    for name, depth in (("dcn", 3), ("fcn", 5), ("fpn", 4), ("multilevel", 4), ("unet_same", 2)):
        params = workflow(f"networks/{name}.json").parser.get_parsed_content("tracker").params
        expected = {"depth": depth, "padding": "same", "norm": "batch", "base_channels": 2}
        expected["dropout"] = 0.0 if name == "unet_same" else 0.5
        expected["network"] = OVERLAYS[name][0]
        assert params.items() >= expected.items()
