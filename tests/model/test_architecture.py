"""A checkpoint's network: what the JSON beside it names, or what a U-Net's tensors tell, and nothing else."""

import shutil
import sys
from functools import partial

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export

from bundle import console
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork, checkpoints, trained_network
from bundle.model.architecture import network_entry, require_fitting_tile, require_known_network
from bundle.model.card import write_card
from bundle.networks import DCN, UNet
from bundle.tracking.config import running_parser
from tests.conftest import ROOT, said_by

DCN_ENTRY = {
    "_target_": "bundle.networks.DCN",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 2,
    "base_channels": 2,
    "kernels": [4, 6, 10],
    "branches": [True, True, False],
}
DCN_ARGUMENTS = {name: value for name, value in DCN_ENTRY.items() if name != "_target_"}
UNET = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "base_channels": 2, "depth": 2}


@pytest.fixture
def checkpoint(tmp_path):
    """Of a DCN, with nothing beside it."""
    checkpoints.write(tmp_path / "model.pt", DCN(**DCN_ARGUMENTS).state_dict())
    return tmp_path / "model.pt"


def test_the_json_beside_it_names_the_network(checkpoint):
    write_card(checkpoint.with_suffix(".json"), {"network": DCN_ENTRY}, of=checkpoint)
    network = TrainedNetwork(checkpoint).load()
    assert isinstance(network, DCN)
    assert [branch[0].kernel_size for branch in network.branches.values()] == [(4, 4), (6, 6)]
    torch.testing.assert_close(dict(network.state_dict()), dict(checkpoints.read(checkpoint)))


def test_in_the_folder_of_a_run_it_is_its_card(checkpoint, tmp_path):
    write_card(tmp_path / "card.json", {"network": DCN_ENTRY})
    assert isinstance(TrainedNetwork(checkpoint).build(), DCN)


@pytest.mark.parametrize("beside", [None, {"config": {}}, {"network": None}])
def test_without_a_name_a_unets_tensors_tell(beside, tmp_path):
    trained = UNet(**UNET, norm="batch", padding="same")
    checkpoints.write(tmp_path / "model.pt", trained.state_dict())
    if beside is not None:
        write_card(tmp_path / "model.json", beside)
    network = TrainedNetwork(tmp_path / "model.pt").build()
    assert isinstance(network, UNet)
    assert network.geometry == trained.geometry
    TrainedNetwork(tmp_path / "model.pt").load(network)


def test_without_a_file_there_are_defaults(tmp_path):
    network = TrainedNetwork(tmp_path / "none.pt").build(UNET)
    assert isinstance(network, UNet)
    assert network.depth == 2
    with pytest.raises(FileNotFoundError, match=r"none\.pt does not exist"):
        TrainedNetwork(tmp_path / "none.pt").build()


@pytest.mark.parametrize("defaults", [None, UNET])
def test_another_network_without_a_name_asks_for_its_json(checkpoint, defaults):
    with pytest.raises(ValueError, match=r"not a U-Net's \(its tensors begin with trunk.*put the JSON.*model\.json"):
        TrainedNetwork(checkpoint).build(defaults)


def test_what_describes_another_file_names_nothing(checkpoint, tmp_path):
    other = tmp_path / "other.pt"
    other.write_bytes(b"")
    write_card(checkpoint.with_suffix(".json"), {"network": DCN_ENTRY}, of=other)
    with pytest.raises(ValueError, match="not a U-Net's"):
        TrainedNetwork(checkpoint, trust_weights="true").build()


@pytest.mark.parametrize(
    ("target", "nearest"),
    [
        ("bundle.networks.DNC", "DCN"),
        ("bundle.networks.unet", "UNet"),
        ("bundle.networks.FCN8s", "FCN"),
        ("monai.networks.nets.BasicUNet", "UNet"),
        ("torch.nn.MultiLevel", "MultiLevel"),
    ],
)
def test_another_name_is_refused_and_the_nearest_said(checkpoint, target, nearest):
    write_card(checkpoint.with_suffix(".json"), {"network": DCN_ENTRY | {"_target_": target}})
    with pytest.raises(ValueError, match="is none of this bundle: did you mean") as error:
        TrainedNetwork(checkpoint).build()
    message = str(error.value)
    assert target in message
    assert "model.json" in message
    assert "bundle.networks.FCN, " in message
    assert f"did you mean bundle.networks.{nearest}" in message


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "bundle.networks.unet.copy.deepcopy"])
def test_nothing_but_a_network_is_ever_called(checkpoint, target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_card(checkpoint.with_suffix(".json"), {"network": {"_target_": target, "command": "touch pwned"}})
    with pytest.raises(ValueError, match="is none of this bundle"):
        TrainedNetwork(checkpoint).build()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (DCN_ENTRY | {"depht": 3}, r"unexpected keyword argument 'depht'; allowed are spatial_dims, .*branches"),
        (DCN_ENTRY | {"kernels": [4, 8, 7]}, "F3 is 7 px, smaller than its stride of 8"),
        ({"base_channels": 2}, '"network" in .* must be an object with a "_target_"'),
        ("DCN", "\"network\" in .* must be of type dict or null, got 'DCN'"),
    ],
)
def test_what_cannot_be_made_says_why(checkpoint, entry, message):
    write_card(checkpoint.with_suffix(".json"), {"network": entry})
    with pytest.raises(ValueError, match=message):
        TrainedNetwork(checkpoint).build()


def test_an_entry_is_told_with_its_references_resolved(caplog):
    config = {
        "width": "$2 + 1",
        "strides": [4, 8],
        "network_def": {
            **{"_target_": "bundle.networks.DCN", "_desc_": "no argument", "_disabled_": False},
            **{"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "base_channels": "@width"},
            "kernels": "$tuple(@strides) + (16,)",
            "branches": [True, "$1 > 2", True],
        },
    }
    parser = ConfigParser(config)
    assert network_entry(parser) == {
        **{"_target_": "bundle.networks.DCN", "spatial_dims": 2, "in_channels": 1, "out_channels": 2},
        **{"base_channels": 3, "kernels": [4, 8, 16], "branches": [True, False, True]},
    }
    assert parser["network_def"]["base_channels"] == "@width"  # the config itself stays as it was
    strange = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1}
    strange["device"] = "$torch.device('cpu')"
    for other in ({}, {"network_def": "$torch.nn.Identity()"}, {"network_def": strange}):
        assert network_entry(ConfigParser(other)) is None
    assert network_entry(None) is None
    assert "network_def has an argument that is no plain value" in caplog.text


def test_export_to_torchscript(checkpoint, tmp_path):
    write_card(checkpoint.with_suffix(".json"), {"network": DCN_ENTRY}, of=checkpoint)
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(checkpoint),
        meta_file=str(ROOT / "configs" / "metadata.json"),
        config_file=str(ROOT / "configs" / "inference.json"),
        checkpoint=str(checkpoint),
    )
    network = TrainedNetwork(checkpoint).load().eval()
    image = torch.rand(1, 1, 30, 21)
    with torch.no_grad():
        found = OverlapTileInferer()(image, torch.jit.load(tmp_path / "model.ts").eval())
        torch.testing.assert_close(found, OverlapTileInferer()(image, network))


def damage(checkpoint):
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    checkpoint.write_bytes(data)


def contradict(checkpoint):
    write_card(checkpoint.with_suffix(".json"), {"sha256": "0" * 64, "network": DCN_ENTRY})


def diverge(checkpoint):
    weights = checkpoints.read(checkpoint)
    next(iter(weights.values()))[0] = float("nan")
    torch.save(weights, checkpoint)
    write_card(checkpoint.with_suffix(".json"), {"network": DCN_ENTRY}, of=checkpoint)


def widen(checkpoint):
    write_card(checkpoint.with_suffix(".json"), {"network": {**DCN_ENTRY, "base_channels": 6}}, of=checkpoint)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (damage, "it is damaged"),
        (contradict, "describes another file than"),
        (diverge, "values that are not finite"),
        (widen, "another architecture than DCN"),
    ],
)
def test_what_inference_refuses_is_not_exported(spoil, told, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(trained_network, "_PATIENCE", 0)
    write_card(checkpoint.with_suffix(".json"), {"network": DCN_ENTRY})
    spoil(checkpoint)
    assert told in refused(tmp_path, checkpoint, checkpoint)
    assert sys.excepthook is console._hook  # which shows this sentence alone
    assert not (tmp_path / "model.ts").exists()


def refused(folder, checkpoint, weights):
    configs = ROOT / "configs"
    export = partial(
        ckpt_export,
        net_id="network_def",
        filepath=str(folder / "model.ts"),
        ckpt_file=str(weights),
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        checkpoint=str(checkpoint),
    )
    return said_by(export)


def rekernel(checkpoint):
    write_card(checkpoint.with_suffix(".json"), {"network": {**DCN_ENTRY, "dropout": 0.25}}, of=checkpoint)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (damage, "it is damaged"),
        (contradict, "describes another file than"),
        (diverge, "values that are not finite"),
        (rekernel, "are different networks: give one file as both"),
    ],
)
def test_the_file_whose_weights_are_exported_is_checked_too(spoil, told, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(trained_network, "_PATIENCE", 0)
    write_card(checkpoint.with_suffix(".json"), {"network": DCN_ENTRY}, of=checkpoint)
    other = tmp_path / "other.pt"
    shutil.copy(checkpoint, other)
    spoil(other)
    assert told in refused(tmp_path, checkpoint, other)
    assert not (tmp_path / "model.ts").exists()


def test_weights_of_another_size_are_not_exported(checkpoint, tmp_path):
    write_card(checkpoint.with_suffix(".json"), {"network": DCN_ENTRY}, of=checkpoint)
    checkpoints.write(tmp_path / "other.pt", UNet(2, 1, 2, base_channels=2, depth=2).state_dict())
    assert "other.pt" in refused(tmp_path, checkpoint, tmp_path / "other.pt")


@pytest.mark.parametrize("target", ["bundle.networks.DNC", "bundle.networks.dcn", "bundle.network.DCN", "DCN"])
def test_a_config_of_an_unknown_network(target, workflow):
    check = {
        "run": ["$architecture.require_known_network(running_parser())"],
    }
    message = said_by(workflow(**check, **{"network_def#_target_": target}).run)
    assert message.startswith(f"network {target!r} in network_def is none of this bundle: did you mean")
    assert "did you mean bundle.networks.DCN?" in message
    for known in ("bundle.networks.UNet", "monai.networks.nets.BasicUNet"):
        workflow(**check, **{"network_def#_target_": known}).run()
    require_known_network(running_parser())  # outside of a config there is nothing to check


def test_a_tile_that_is_nearly_all_margin_is_said_to_be_so(workflow, caplog):
    check = {"run": ["$architecture.require_fitting_tile(running_parser())"]}
    for tile in (300, 380):
        workflow(**check, depth=4, tile_size=tile).run()
    assert "tile_size" not in caplog.text
    workflow(**check, depth=4, tile_size=188).run()
    assert "tile_size 188 leaves 4 px of output, the rest is margin: a step learns little; 252 leaves 68" in caplog.text


def test_a_tile_that_the_network_cannot_take_is_refused_before_it_is_built(workflow):
    check = {"run": ["$architecture.require_fitting_tile(running_parser())"]}
    assert "tile_size 380 px is not valid at depth 12" in said_by(
        workflow(**check, depth=12, base_channels=16, tile_size=380).run
    )
    workflow(**check, depth=4, tile_size=380).run()
    require_fitting_tile(running_parser())  # outside of a config there is nothing to check
