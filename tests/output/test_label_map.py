"""What MONAI Label takes from the configs: its transforms give the ordinary path's masks, its labels train."""

import json

import numpy as np
import pytest
import tifffile
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from PIL import Image

from bundle.cells.instances import probability_to_instances
from bundle.data.fingerprint import fingerprint, run_fingerprint
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork, checkpoints
from bundle.networks import UNet
from bundle.output.label_map import LabelMapd
from label_app.prepare import adapted, prepare
from tests.conftest import ROOT
from transforms import LabelToInstancesd, Standardize, WeightMapd


def transforms_of(**params):
    """pre_transforms and post_transforms, with the parameters of one request."""
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "inference.json"))
    parser["bundle_root"] = str(ROOT)
    parser["checkpoint"] = str(ROOT / "models/em_membranes.pt")  # whatever this folder's first training left
    parser["displayable_configs"].update(params)
    return parser.get_parsed_content("pre_transforms"), parser.get_parsed_content("post_transforms")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return UNet(2, 1, 2, base_channels=2, depth=2, norm="batch").eval()


def run(path, network, **params):
    before, after = transforms_of(**params)
    data = before({"image": str(path), "image_path": str(path), **params})
    data["pred"] = OverlapTileInferer(stack_axis=-1, probability_of=1)(data["image"][None], network)[0]
    return after(data)


def test_colours_become_gray_and_the_mask_has_no_channel(network, tmp_path):
    colour = np.random.RandomState(0).randint(0, 255, (40, 56, 3)).astype(np.uint8)
    Image.fromarray(colour).save(tmp_path / "a.png")
    gray = torch.from_numpy(colour.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))
    logits = OverlapTileInferer()(Standardize()(gray.T[None])[None], network)[0]
    probability = torch.softmax(logits, dim=0)[1].numpy()

    mask = run(tmp_path / "a.png", network)
    assert mask["pred"].shape == (56, 40)
    assert mask["result_dtype"] == "uint8"
    np.testing.assert_array_equal(mask["pred"], probability > 0.5)

    cells = run(tmp_path / "a.png", network, instances=True, threshold=0.45, min_size=3)["pred"]
    np.testing.assert_array_equal(
        cells, probability_to_instances(probability, threshold=0.45, min_size=3, close_gaps=1.0)
    )


def test_a_stack_keeps_its_slices(network, tmp_path):
    pages = np.random.RandomState(0).randint(0, 255, (3, 40, 56)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    assert run(tmp_path / "a.tif", network)["pred"].shape == (56, 40, 3)


@pytest.mark.parametrize(
    ("extension", "wanted", "count", "dtype", "written"),
    [
        (".png", None, 300, "uint16", None),
        (".png", "uint8", 300, "uint16", None),
        (".png", "uint16", 2, "uint16", None),
        (".png", "float32", 2, "uint8", None),
        (".jpg", None, 2, "uint8", ".png"),
    ],
)
def test_the_writer_is_told_what_holds_the_labels(extension, wanted, count, dtype, written):
    cells = torch.arange(count + 1).reshape(1, 1, -1)
    data = {"instances": cells, "image_path": f"a{extension}", "result_dtype": wanted}
    out = LabelMapd(separate=True)(data)
    assert out["result_dtype"] == dtype
    assert out.get("result_extension") == written
    assert np.sum(out["pred"]) == count * (count + 1) // 2  # as MONAI Label's scoring does


@pytest.mark.parametrize("options", [{"separate": "false"}, {"threshold": 1.0}, {"keys": ["a", "b"]}])
def test_it_refuses(options):
    with pytest.raises(ValueError, match="got"):
        LabelMapd(**options)


def test_an_item_names_its_own_unannotated_value():
    label = np.array([[[0, 1, 1, 7, 9]]])
    steps = Compose([LabelToInstancesd("label", ignore_value=9), WeightMapd("label")])
    own, shared = steps({"label": label, "not_annotated": 7}), steps({"label": label})
    assert (np.asarray(own["weight"]) == 0).tolist() == [[[False, False, False, True, False]]]
    assert (np.asarray(shared["weight"]) == 0).tolist() == [[[False, False, False, False, True]]]
    assert "not_annotated" not in own


def test_a_run_on_fed_items_has_their_fingerprint(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name)
    items = [{"image": str(tmp_path / name), "label": str(tmp_path / name)} for name in "abc"]
    assert run_fingerprint(items, items[:1], items[1:2]) == fingerprint(items)
    assert run_fingerprint(items[:1], items[1:], []) == fingerprint(items[1:])


@pytest.fixture
def model(tmp_path):
    network = UNet(2, 1, 2, base_channels=3, depth=3, norm=None)
    torch.save(network.state_dict(), tmp_path / "other.pt")
    return tmp_path / "other.pt"


def test_the_apps_folder_goes_on_with_its_model(model, tmp_path):
    folder = prepare(tmp_path / "app", model=model, options={"samples_per_epoch": 4})
    config = json.loads((folder / "configs" / "train.json").read_text())
    assert (config["base_channels"], config["depth"], config["network_def"]["norm"]) == (3, 3, None)
    assert config["samples_per_epoch"] == 4
    assert (folder / "bundle" / "console.py").is_file()
    later = {name: value + 1 for name, value in checkpoints.read(model).items()}
    checkpoints.write(folder / "models" / "model.pt", later)
    written = (folder / "models" / "model.pt").read_bytes()
    with pytest.raises(ValueError, match="no entry"):
        prepare(tmp_path / "app", options={"sample_per_epoch": 4})
    assert (folder / "models" / "model.pt").read_bytes() == written


@pytest.mark.parametrize("name", ["cell_detection", "a/b", ""])
def test_names_that_monai_label_misreads_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="name must be"):
        prepare(tmp_path / "app", name)


def test_train_json_says_all_that_monai_label_overrides(model):
    config = adapted(json.loads((ROOT / "configs" / "train.json").read_text()), TrainedNetwork(model), "cells")
    parser = ConfigParser(config)
    items = [{"image": "a.png", "label": "b.png"}]
    overrides = {"bundle_root": str(ROOT), "device": "cpu", "train#trainer#max_epochs": 7}
    overrides |= {"train#dataset#data": items, "validate#dataset#data": []}
    for key, value in overrides.items():
        assert key in parser
        parser[key] = value
    assert parser.get_parsed_content("labelled") == items
    assert parser.get_parsed_content("tile_size") == 380
    assert parser.get_parsed_content("tracker#params#max_epochs") == 7
    assert isinstance(parser["train#handlers"], list)
    assert "displayable_configs" not in parser
