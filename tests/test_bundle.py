"""The rules of MONAI bundles and of the model zoo."""

import json
import re
import shutil
import tomllib
from importlib import metadata

import pytest
import torch
from monai.bundle import ckpt_export, load_bundle_config, verify_metadata, verify_net_in_out

from bundle.geometry import ValidGeometry
from bundle.model import checkpoints
from bundle.networks import UNet
from tests.conftest import ROOT, TINY, inference

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
META = json.loads((ROOT / "configs" / "metadata.json").read_text())


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    network = UNet(2, 1, 2, base_channels=2, depth=4, norm="batch").eval()
    checkpoints.write(tmp_path / "model.pt", network.state_dict())
    return network, tmp_path / "model.pt"


def test_training_has_all_properties(workflow):
    assert workflow().check_properties() == []


def test_inference_has_all_properties(model, cells):
    flow = inference(checkpoint=model[1], dataset_dir=cells / "test", output_dir=model[1].parent / "output")
    assert flow.check_properties() == []


def test_metadata_is_valid(tmp_path):
    schema = tmp_path / "schema.json"  # there already, so that MONAI does not go and fetch it
    shutil.copy(ROOT / "tests" / "metadata_schema.json", schema)
    verify_metadata(meta_file=str(ROOT / "configs" / "metadata.json"), filepath=str(schema))


def test_metadata_that_lacks_something_is_not(tmp_path):
    schema, broken = tmp_path / "schema.json", tmp_path / "metadata.json"
    shutil.copy(ROOT / "tests" / "metadata_schema.json", schema)
    broken.write_text(json.dumps({key: value for key, value in META.items() if key != "network_data_format"}))
    with pytest.raises(ValueError, match="network_data_format"):
        verify_metadata(meta_file=str(broken), filepath=str(schema))


def test_the_version_is_one():
    assert META["version"] == PROJECT["version"]
    assert META["version"] in META["changelog"]
    assert f"## {META['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {META['version']}" in (ROOT / "CITATION.cff").read_text()


def test_metadata_names_the_versions_that_are_tested():
    lines = (ROOT / "constraints.txt").read_text().split()
    pins = {name.lower(): version for name, _, version in (line.partition("==") for line in lines)}
    named = {"monai": META["monai_version"], "torch": META["pytorch_version"], "numpy": META["numpy_version"]}
    every = {**named, **META["required_packages_version"]}
    assert set(every) == {re.split(r"[<>=!~]", requirement)[0] for requirement in PROJECT["dependencies"]}
    for package, version in every.items():
        assert pins[package] == version, package
        assert metadata.version(package).split("+")[0] == version, package


@pytest.mark.parametrize("n", [1, 2, 5])
def test_network_in_and_out(n, model):
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(ROOT / "configs" / "metadata.json"),
        config_file=str(ROOT / "configs" / "inference.json"),
        checkpoint=str(model[1]),
        n=n,
        device="cpu",
    )


@pytest.mark.parametrize("n", [1, 2, 7])
def test_metadata_shapes_are_the_geometrys(n):
    """MONAI verifies channels and dtype of the output only; these are its sizes."""
    formats = META["network_data_format"]
    (size,) = {eval(shape, {"n": n}) for shape in formats["inputs"]["image"]["spatial_shape"]}
    (out,) = {eval(shape, {"n": n}) for shape in formats["outputs"]["pred"]["spatial_shape"]}
    assert ValidGeometry(4).output_size(size) == out


def test_export_to_torchscript(model, tmp_path):
    network, path = model
    exported = tmp_path / "model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(exported),
        ckpt_file=str(path),
        meta_file=str(ROOT / "configs" / "metadata.json"),
        config_file=str(ROOT / "configs" / "inference.json"),
        checkpoint=str(path),
    )
    loaded = torch.jit.load(str(exported)).eval()
    tile = torch.rand(1, 1, 188, 204)
    torch.testing.assert_close(loaded(tile), network(tile))
    assert loaded.depth == 4


def test_model_zoo_layout():
    for file in ("configs/metadata.json", "configs/train.json", "configs/inference.json", "configs/logging.conf"):
        assert (ROOT / file).is_file(), file
    assert (ROOT / "docs" / "README.md").is_file()
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
    parser = load_bundle_config(str(ROOT), "train.json")
    assert parser["train#trainer#max_epochs"] == "$@length.epochs"


def test_self_contained_configs_name_no_other_file():
    for name in ("train.json", "inference.json"):
        text = (ROOT / "configs" / name).read_text()
        assert "@_meta_" not in text
        assert ".json::" not in text
        assert ".json#" not in text


def test_tiny_options_exist_in_the_config():
    """Options that tests and docs pass on the command line are keys of train.json, not silently new ones."""
    parser = load_bundle_config(str(ROOT), "train.json")
    for key in [*TINY, "held_out", "run_name", "resume", "tracking_uri", "experiment_name", "network_def#norm"]:
        assert key in parser, key
