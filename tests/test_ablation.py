"""Every ablation changes what it says and nothing else, and trains."""

import numpy as np
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.transforms import Compose
from torch import nn

from bundle.model import TrainedNetwork
from bundle.tracking.config import flat_config
from tests.conftest import ROOT, TINY
from tests.data.ctc_set import boxes
from tests.test_experiments import EXPERIMENTS, film

AS_BEFORE = {
    "network_def.deep_supervision": "false",
    "freeze_norm_after": "null",
    "elastic.scale_range": "0.0",
    "augment.1": "@gray_curve",
}

#: entry of the executed config -> its value with the overlay; None: it is gone
CHANGES = {
    "no_elastic": {"elastic.sigma": "0.0"},
    "simard": {
        "elastic._target_": "transforms.RandElasticFieldd",
        "elastic.grid_size": None,
        "elastic.sigma": "50.0",
        "elastic.alpha": "7.7",
        "elastic.normalise": "true",
    },
    "bilinear": {"elastic.mode.0": "bilinear"},
    "no_border": {"weight_map.w0": "0.0"},
    "no_balance": {"class_weights": "equal"},
    "dropout": {"network_def.dropout": "0.5"},
    "no_gray_values": {"gray_values.transforms.0": "@blur", "gray_values.transforms.1": None},
    "no_shift": {"elastic.shift": "none"},
    "precompute": {
        "elastic.keys.2": "weight",
        "elastic.mode.2": "nearest",
        "train.preprocessing.transforms": "$[@find_training_context, *@load, @separate_touching, @weight_map, "
        "*@augment, @instances_to_class, *@crop]",
    },
    "sgd": {
        "network_def.dropout": "0.5",
        "class_weights": "tile",
        "optimizer._target_": "torch.optim.SGD",
        "optimizer.lr": "0.02",
        "optimizer.momentum": "0.99",
        "optimizer.weight_decay": None,
        **AS_BEFORE,
    },
    "fewer_changes": AS_BEFORE,
    "no_deep_supervision": {"network_def.deep_supervision": "false"},
    "networks/unet_same": {
        "padding": "same",
        "elastic.spatial_size": "$@network_def.geometry.input_size(@tile_size)",
    },
}


@pytest.fixture
def ablated(tmp_path):
    """A workflow of an ablation on films of cells, at a tiny size but with the deformation that the config says."""
    film(tmp_path / "data")

    def make(*names: str) -> ConfigWorkflow:
        overlays = [overlay(name) for name in names]
        files = [str(ROOT / "configs" / name) for name in ("train.json", "experiments/dic_hela.json", *overlays)]
        tiny = {name: value for name, value in TINY.items() if "#" not in name}
        places = {"output_dir": str(tmp_path / "runs"), "model_file": str(tmp_path / "model.pt")}
        size = {"depth": 3, "tile_size": 100, "max_epochs": 1}
        data = {"bundle_root": str(ROOT), "dataset_dir": str(tmp_path / "data")}
        made = ConfigWorkflow(files, logging_file=False, **tiny | places | size | data)
        made.initialize()
        return made

    return make


def overlay(name: str) -> str:
    return f"{name}.json" if "/" in name else f"ablation/{name}.json"


def entries(*files: str) -> dict[str, str]:
    parser = ConfigParser()
    parser.read_config([str(ROOT / "configs" / file) for file in files])
    return dict(flat_config(parser))


def sample(flow: ConfigWorkflow) -> dict[str, np.ndarray]:
    return {key: np.asarray(value) for key, value in flow.parser.get_parsed_content("train#dataset")[0].items()}


def test_every_ablation_is_tested():
    stems = {path.stem for path in (ROOT / "configs" / "ablation").glob("*.json")}
    assert stems | {"networks/unet_same"} == set(CHANGES)


# the study of kernels has neither deformation nor weights to leave out
@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name != "dcn_kernels"])
@pytest.mark.parametrize("name", CHANGES)
def test_it_changes_what_it_says_and_nothing_else(name, experiment):
    common = ("train.json", f"experiments/{experiment}.json")
    before, after = entries(*common), entries(*common, overlay(name))
    changed = {key: after.get(key) for key in before | after if before.get(key) != after.get(key)}
    assert changed == CHANGES[name]


@pytest.mark.parametrize("name", CHANGES)
def test_it_trains(name, ablated, tmp_path):
    ablated(name).run()
    assert TrainedNetwork(tmp_path / "model.pt").build().depth == 3


def test_without_elastic_the_window_is_still_turned_and_shifted(ablated):
    for names, deformed in (((), True), (("no_elastic",), False)):
        warp = ablated(*names).parser.get_parsed_content("elastic").warp
        warp.set_random_state(0).randomize((64, 72))
        assert (warp.sampling.displacement is not None) == deformed
        assert abs(warp.sampling.matrix[0, 1]) > 0.01
        assert not np.array_equal(warp.sampling.centre, [31.5, 35.5])


def test_both_deformations_move_pixels_equally_far(ablated):
    moved = []
    for names in ((), ("simard",)):
        warp = ablated(*names).parser.get_parsed_content("elastic").warp.set_random_state(0)
        moved.append(np.sqrt(np.mean([warp.draw_displacement((60, 60)) ** 2 for _ in range(500)])))
    assert moved[1] == pytest.approx(moved[0], rel=0.05)
    assert moved[0] == pytest.approx(7.7, rel=0.05)


def weighed(flow: ConfigWorkflow) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the background between two cells, some 4 px apart, and of the cells."""
    cells = boxes((10, 10), (10, 24), side=10, size=(30, 60)).astype(np.int32)
    out = Compose(flow.parser.get_parsed_content("targets"))({"label": cells[None]})
    weight = np.asarray(out["weight"])[0]
    return weight[cells == 0], weight[cells > 0]


def test_without_border_term_each_class_has_one_weight(ablated):
    (background, cells), (plain, same_cells) = weighed(ablated("sgd")), weighed(ablated("sgd", "no_border"))
    assert np.unique(plain) == pytest.approx(1800 / (2 * 1600))  # 1600 of 1800 px are background
    assert np.unique(same_cells) == np.unique(cells) == pytest.approx(1800 / (2 * 200))
    assert background.max() > plain.max() + 5
    assert background.min() == pytest.approx(plain.min())


def test_without_balance_only_the_border_term_is_left(ablated):
    (background, cells), (plain, plain_cells) = weighed(ablated("sgd")), weighed(ablated("sgd", "no_balance"))
    assert (plain_cells == 1).all()
    assert (cells != 1).all()
    np.testing.assert_allclose(plain - 1, background - 1800 / (2 * 1600), atol=1e-5)
    assert plain.max() > 6


def test_dropout_is_there_when_it_is_asked_for(ablated):
    for names, there in (((), False), (("dropout",), True), (("sgd",), True)):
        network = ablated(*names).parser.get_parsed_content("network_def")
        assert any(isinstance(module, nn.Dropout) for module in network.modules()) == there


def test_the_padded_tile_is_the_next_larger_one_and_all_of_it_is_labelled(ablated):
    for names, tile, labelled in (((), 100, 12), (("networks/unet_same",), 104, 104)):
        found = sample(ablated(*names))
        assert found["image"].shape == (1, tile, tile)
        assert found["label"].shape == found["weight"].shape == (1, labelled, labelled)


def test_ablations_add_up(ablated):
    parsed = ablated("simard", "no_border", "networks/unet_same").parser.get_parsed_content
    assert parsed("elastic").warp.spatial_size == 104
    assert parsed("elastic").warp.alpha == 7.7
    assert parsed("weight_map").weight_map.w0 == 0


def test_a_map_that_was_made_before_is_that_of_the_image_moved_with_the_label(ablated):
    """The gray values say which pixel of the film each pixel of a tile was: its weight must be that pixel's, too."""
    flow = ablated("precompute", "no_gray_values")
    parsed = flow.parser.get_parsed_content
    place = np.arange(64 * 72, dtype=np.float32).reshape(64, 72)
    whole = Compose([*parsed("load"), parsed("separate_touching"), parsed("weight_map")])(parsed("train#items")[0])
    elastic = parsed("elastic").set_random_state(0)
    tile = elastic({**whole, "image": place.T[None]})
    at = np.asarray(tile["image"])[0].astype(int)
    for key in ("label", "weight"):
        np.testing.assert_array_equal(np.asarray(tile[key])[0], np.asarray(whole[key])[0].T[at // 72, at % 72])
    assert len(np.unique(at)) > 1000
    # one made after the deformation has other weights where cells were stretched
    again = parsed("weight_map")(dict(tile))["weight"]
    assert np.abs(np.asarray(again) - np.asarray(tile["weight"])).max() > 0.01
    # the validation is measured with the same maps as ever, and on labels without a ridge
    (one, other) = (
        ablated(*names).parser.get_parsed_content("validate#preprocessing") for names in ((), ("precompute",))
    )
    for key in ("label", "weight", "annotation"):
        np.testing.assert_array_equal(*(np.asarray(each(parsed("train#items")[0])[key]) for each in (one, other)))


def test_without_shift_the_tile_is_the_middle(ablated):
    centres = {tuple(centre_of(ablated("no_shift"), seed)) for seed in range(4)}
    assert centres == {(31.5, 35.5)}
    assert len({tuple(centre_of(ablated(), seed)) for seed in range(4)}) > 1


def centre_of(flow: ConfigWorkflow, seed: int) -> np.ndarray:
    warp = flow.parser.get_parsed_content("elastic").warp
    warp.set_random_state(seed).randomize((64, 72))
    return np.asarray(warp.sampling.centre)


def test_without_gray_values_a_tile_has_those_of_its_image(ablated):
    for names, same in ((("no_gray_values",), True), ((), False)):
        flow = ablated(*names)
        images = [
            Compose(flow.parser.get_parsed_content("load"))(item)
            for item in flow.parser.get_parsed_content("train#items")
        ]
        known = {value for image in images for value in image["image"].unique().tolist()}
        assert ({*np.unique(sample(flow)["image"]).tolist()} <= known) == same
