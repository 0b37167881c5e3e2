"""Bad input on the command line: one sentence at the end, nothing written over, nothing silently wrong."""

import logging
import shutil

import numpy as np
import pytest
import tifffile
import torch

from bundle.console import require_known_options, require_own
from bundle.model import checkpoints, trained_network
from bundle.model.card import write_card
from bundle.networks import UNet
from bundle.tracking.run_folder import open_run
from label_app.prepare import prepare
from tests import conftest
from tests.conftest import ROOT, TINY, said_by


@pytest.fixture
def data(tmp_path, cells):
    """A copy of the data set, to be spoiled."""
    shutil.copytree(cells, tmp_path / "spoiled")
    return tmp_path / "spoiled"


def write(path, array):
    tifffile.imwrite(path, array, photometric="minisblack")


def missing(data):
    shutil.rmtree(data)


def empty(data):
    shutil.rmtree(data)
    data.mkdir()


def image_without_label(data):
    (data / "label" / "002.tif").unlink()


def label_without_image(data):
    (data / "image" / "003.tif").unlink()


def another_size(data):
    write(data / "label" / "002.tif", np.ones((90, 96), np.uint16))


def truncated(data):
    file = data / "image" / "001.tif"
    file.write_bytes(file.read_bytes()[:500])


def nan(data):
    write(data / "image" / "001.tif", np.full((96, 96), np.nan, np.float32))


def rgb(data):
    tifffile.imwrite(data / "image" / "001.tif", np.random.randint(0, 255, (96, 96, 3), np.uint8), photometric="rgb")  # noqa: NPY002


def fractional_label(data):
    write(data / "label" / "001.tif", np.full((96, 96), 0.5, np.float32))


def negative_label(data):
    write(data / "label" / "001.tif", np.full((96, 96), -7, np.int16))


def image_as_label(data):
    shutil.copy(data / "image" / "001.tif", data / "label" / "001.tif")


def one_image_in_two_parts(data):
    seen = tifffile.imread(data / "image" / "001.tif")
    for number in (0, 2, 3, 4):
        write(data / "image" / f"00{number}.tif", np.rot90(seen.astype(np.float32) * 3 + number, number))


def classed(data, change):
    """Objects and, in class/, the class of each px; ``change`` gets the objects and the classes of one image."""
    (data / "class").mkdir()
    (data / "classes.json").write_text('["background", "nucleus", "debris"]')
    for file in (data / "label").iterdir():
        objects = tifffile.imread(file)
        classes = (objects > 0).astype(np.uint8)
        if file.name == "001.tif":
            change(objects, classes)
        write(data / "class" / file.name, classes)


def class_without_a_name(data):
    classed(data, lambda objects, classes: classes.__setitem__(objects > 0, 3))


def class_beside_its_object(data):
    classed(data, lambda objects, classes: classes.__setitem__(np.unravel_index(objects.argmin(), objects.shape), 2))


def object_of_the_background(data):
    classed(data, lambda objects, classes: classes.__setitem__(objects == objects.max(), 0))


def object_of_two_classes(data):
    classed(data, lambda objects, classes: classes.__setitem__(np.unravel_index(objects.argmax(), objects.shape), 2))


def label_without_a_class(data):
    classed(data, lambda objects, classes: None)
    (data / "class" / "001.tif").unlink()


SPOILED = {
    class_without_a_name: ("class/001.tif", "values without a class: 3", "1 nucleus", "name more classes"),
    class_beside_its_object: ("class/001.tif", "has 1 px of debris where", "label/001.tif has background"),
    object_of_the_background: ("label/001.tif", "px of class background in the class map", "class/001.tif"),
    object_of_two_classes: ("label/001.tif", "has two classes, nucleus and debris (1 px)", "class/001.tif"),
    label_without_a_class: ("label/001.tif", "no class map and no table"),
    image_as_label: ("001.tif", "same file as its image"),
    one_image_in_two_parts: ("validation has 1 of 1 images that training has too", "image/00", ".tif is "),
    missing: ("spoiled", "is no folder"),
    empty: ("spoiled", "is empty"),
    image_without_label: ("002", "label"),
    label_without_image: ("003", "image"),
    another_size: ("002.tif", "96", "90"),
    truncated: ("001.tif",),
    nan: ("001.tif", "NaN"),
    rgb: ("001.tif", "3 channels (red, green, blue), 4 other images have 1", "--channels luminance"),
    fractional_label: ("001.tif", "0.5"),
    negative_label: ("-7",),
}


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_bad_training_data(spoil, data, workflow, tmp_path):
    spoil(data)
    told = said_by(workflow(dataset_dir=str(data), run_name="mine").run)
    for part in SPOILED[spoil]:
        assert part in told
    assert not (tmp_path / "model.pt").exists()
    assert open_run(tmp_path / "runs", "mine")  # the name is still free


@pytest.mark.parametrize(
    ("value", "told"), [(0, "marks an object"), (5, "has background, all their pixels are"), (-1, "an annotated pixel")]
)
@pytest.mark.filterwarnings("ignore:the label of")
def test_labels_of_which_nothing_can_be_learned(value, told, data, workflow, tmp_path):
    for file in (data / "label").glob("*.tif"):
        write(file, np.full((96, 96), value, np.int16))
    assert told in said_by(workflow(dataset_dir=str(data), max_epochs=1).run)
    assert not (tmp_path / "model.pt").exists()


def test_a_label_of_one_class_is_warned_about(data, workflow):
    write(data / "label" / "001.tif", np.zeros((96, 96), np.uint16))
    with pytest.warns(UserWarning, match=r"001\.tif has no cell"):
        workflow(dataset_dir=str(data), max_epochs=1).run()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"tile_size": 63}, ("63", "nearest", "60 and 64")),
        ({"tile_size": 20}, ("20", "44")),
        ({"depth": 0}, ("depth", "at least 1")),
        ({"network_def#norm": "instance"}, ("instance", "tile")),
        ({"precision": "fp8"}, ("precision", "fp8", "bf16")),
        ({"validation": 5}, ("validation", "5")),
        ({"layout": "zip"}, ("layout", "zip", "folder")),
        ({"run_name": "a/b"}, ("run_name", "a/b")),
        ({"resume": "perhaps"}, ("resume", "true or false", "perhaps")),
        ({"seed": -1}, ("seed", "-1", "4294967295")),
        ({"held_out": 5}, ("held_out", "0 to 4 of 5 items")),
        ({"optimizer#lr": "nan"}, ("--optimizer#lr", "above 0", "'nan'")),
        ({"context_slices": 1}, (".tif: it is a single image, without neighbours: set context_slices to 0",)),
        ({"channels": "gray"}, ("channels", "'gray'", "all, luminance")),
        ({"standardize#robust": "yes"}, ("robust", "'yes'", "True or False")),
        ({"samples_per_epoch": 0}, ("samples_per_epoch", "0")),
        ({"tracking_uri": "file:///somewhere"}, ("tracking_uri", "sqlite:///")),
        ({"validate#inferer#max_memory": "1 KiB"}, ("max_memory", "smallest tile")),
    ],
)
def test_bad_options(options, parts, workflow, tmp_path):
    told = said_by(workflow(**options).run)
    for part in parts:
        assert part in told
    assert not (tmp_path / "model.pt").exists()


def test_an_output_folder_that_cannot_be_written(workflow, tmp_path):
    (tmp_path / "taken").write_text("a file")
    told = said_by(workflow(output_dir=str(tmp_path / "taken")).run)
    assert "output_dir" in told
    assert "cannot be written" in told
    assert (tmp_path / "taken").read_text() == "a file"


def inference(tmp_path, cells, **options):
    return conftest.inference(**{"dataset_dir": cells / "test", "output_dir": tmp_path / "out", **options})


def test_inference_without_a_model(tmp_path, cells, caplog):
    with caplog.at_level(logging.INFO):
        told = said_by(inference(tmp_path, cells, checkpoint=str(tmp_path / "none.pt")).run)
    assert "none.pt does not exist" in told
    assert "backend" not in caplog.text  # which would be that of no network


def test_a_checkpoint_of_another_architecture(tmp_path, cells):
    checkpoints.write(tmp_path / "model.pt", UNet(2, 1, 2, base_channels=4, depth=2).state_dict())
    fixed = {"_target_": "bundle.networks.UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "depth": 2}
    told = said_by(inference(tmp_path, cells, checkpoint=str(tmp_path / "model.pt"), network_def=fixed).run)
    assert "another architecture" in told
    assert "base_channels=4" in told


def test_a_checkpoint_that_its_card_contradicts(tmp_path, cells, workflow, monkeypatch, caplog):
    """Every command refuses it by the same sentence; on trust it goes on without the card."""
    monkeypatch.setattr(trained_network, "_PATIENCE", 0)
    path = tmp_path / "other.pt"
    checkpoints.write(path, UNet(2, 1, 2, base_channels=2, depth=2, norm="batch").state_dict())
    write_card(path.with_suffix(".json"), {"sha256": "0" * 64, "cells": {"threshold": 0.9}})
    evaluation = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / "evaluation"), "checkpoint": str(path)}

    def commands(**trust):
        yield lambda: inference(tmp_path, cells, checkpoint=str(path), **trust).run()
        yield lambda: workflow("evaluate.json", **evaluation, part="held_out", held_out=1, **trust).run()
        yield lambda: workflow(pretrained=str(path), max_epochs=1, **trust).run()
        yield lambda: prepare(tmp_path / "app", model=path, **trust)

    for command in commands():
        told = said_by(command)
        assert f"other.json describes another file than {path}: put the network and the card of one training" in told
        assert "--trust_weights true" in told
    assert not (tmp_path / "app").exists()
    for command in commands(trust_weights="true"):
        caplog.clear()
        command()
        assert "describes another file" in caplog.text
    card = tmp_path / "app" / "model" / "cells" / "models" / "model.json"
    write_card(card, {"sha256": "0" * 64})
    assert "--trust_weights true" in said_by(lambda: prepare(tmp_path / "app"))
    prepare(tmp_path / "app", trust_weights=True)
    assert not card.exists()


def test_a_network_without_a_card_is_not_measured_as_held_out(tmp_path, workflow):
    path = tmp_path / "foreign.pt"
    checkpoints.write(path, UNet(2, 1, 2, base_channels=2, depth=2, norm="batch").state_dict())
    options = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / "evaluation"), "checkpoint": str(path)}
    told = said_by(workflow("evaluate.json", **options, part="held_out", held_out=1).run)
    assert "has no card that tells which images trained it" in told
    workflow("evaluate.json", **options, part="held_out", held_out=1, trust_weights="true").run()


def test_not_enough_memory(tmp_path, cells):
    checkpoints.write(tmp_path / "model.pt", UNet(2, 1, 2, base_channels=4, depth=2).state_dict())
    told = said_by(inference(tmp_path, cells, checkpoint=str(tmp_path / "model.pt"), max_memory="2 KiB").run)
    assert "max_memory" in told
    assert "smallest tile" in told


def test_the_command_line_ends_with_the_sentence(bundle_run, tmp_path):
    result = bundle_run("training", "configs/train.json", dataset_dir=str(tmp_path / "nowhere"), real=True, **TINY)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()
    assert last[-2].startswith("error: ")
    assert "nowhere" in last[-2]
    assert "Traceback" not in result.stderr


def test_a_misspelt_option(bundle_run, cells, tmp_path):
    result = bundle_run("training", "configs/train.json", output_dir=str(tmp_path / "runs"), max_epoch=3)
    assert result.returncode != 0
    assert "unknown option --max_epoch: did you mean --max_epochs" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_an_option_of_an_earlier_version(bundle_run, tmp_path):
    result = bundle_run("training", "configs/train.json", output_dir=str(tmp_path / "runs"), freeze_norm=0.5)
    assert result.returncode != 0
    assert "error: option --freeze_norm is called --freeze_norm_after now" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_an_overlay_before_the_config_that_it_changes():
    files = [f"{ROOT}/configs/{name}.json" for name in ("small", "train")]
    with pytest.raises(ValueError, match=r"train\.json replaces what stands in .*small\.json before it: put .*train"):
        require_known_options(["--config_file", str(files)])
    require_known_options(["--config_file", str(files[::-1])])


def test_options_of_monai_and_of_nested_entries_are_known():
    files = ["--config_file", f"['{ROOT}/configs/train.json','{ROOT}/configs/experiments/em.json']"]
    require_known_options([*files, "--tracking", "mlflow", "--network_def#norm", "batch", "--seed=3"])
    require_known_options(["-q", "--durations=5"])
    with pytest.raises(ValueError, match=r"unknown option --lr: did you mean --optimizer#lr\?$"):
        require_known_options([*files, "--lr", "0.1"])
    with pytest.raises(
        ValueError, match=r"unknown option --sigma: did you mean --elastic#sigma or --weight_map#sigma\?$"
    ):
        require_known_options([*files, "--sigma", "5"])
    with pytest.raises(ValueError, match=r"unknown option --qqqq: known are .*optimizer"):
        require_known_options([*files, "--qqqq", "5"])
    require_known_options(
        [*files, "--network_def#norm", "$None", "--network_def#up_relu", "True", "--elastic#prob", "1"]
    )
    require_known_options([*files, "--validate#metrics#mine", "{'_target_': 'a.b'}", "--cells::threshold", "0.4"])
    with pytest.raises(ValueError, match=r"unknown option --cells#treshold: did you mean --cells#threshold"):
        require_known_options([*files, "--cells#treshold", "0.9"])
    with pytest.raises(ValueError, match=r"unknown option --optimizer#beta: did you mean --optimizer#betas\?"):
        require_known_options([*files, "--optimizer#_target_", "torch.optim.Adam", "--optimizer#beta", "[0.9,0.99]"])
    with pytest.raises(ValueError, match=r"unknown option --train#nothing#x: known are none"):
        require_known_options([*files, "--train#nothing#x", "1"])
    for none in (["--network_def#norm", "None"], ["--network_def#norm=None", "--seed", "1"]):
        with pytest.raises(ValueError, match=r"value is None: write --network_def#norm '\$None'$"):
            require_known_options([*files, *none])


def test_a_programming_error_keeps_its_traceback(bundle_run, cells, tmp_path):
    result = bundle_run(
        "training", "configs/train.json", dataset_dir=str(cells), output_dir=str(tmp_path), **TINY, loss="$1 / 0"
    )
    assert result.returncode != 0
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize("name", ["transforms.py", "bundle.py"])
def test_a_stray_module_in_the_working_directory(name, bundle_run, tmp_path, cells):
    (tmp_path / name).write_text("raise_nothing = True\n")
    result = bundle_run("training", str(ROOT / "configs" / "train.json"), cwd=tmp_path, dataset_dir=str(cells), **TINY)
    assert result.returncode != 0
    assert str(tmp_path / name) in result.stderr
    assert "rename" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "__pycache__") == [name]


def test_require_own_accepts_the_bundles_packages():
    import bundle
    import transforms

    require_own(bundle, transforms)
    with pytest.raises(ImportError, match="instead of this bundle's"):
        require_own(torch)
