"""Checkpoints are whole or absent, run no code when read, and say what does not fit."""

import os

import pytest
import torch

from bundle.model import TrainedNetwork, checkpoints
from bundle.model.architecture import unet_arguments
from bundle.networks import UNet


def unet(**arguments):
    small = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "base_channels": 2, "depth": 2}
    return UNet(**small | arguments)


def test_what_is_written_is_read(tmp_path):
    content = {"network": unet().state_dict(), "epoch": 3, "names": ["a", "b"], "best": 0.5}
    checkpoints.write(tmp_path / "deep" / "last.pt", content)
    found = checkpoints.read(tmp_path / "deep" / "last.pt")
    assert found["epoch"] == 3
    assert found["names"] == ["a", "b"]
    torch.testing.assert_close(dict(found["network"]), dict(content["network"]))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["last.pt"]


def test_a_checkpoint_is_read_where_networks_are_built_without_content(tmp_path):
    checkpoints.write(tmp_path / "model.pt", unet().state_dict())
    with torch.device("meta"):
        assert TrainedNetwork(tmp_path / "model.pt").definition()[1]["base_channels"] == 2


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoints.write(path, {"epoch": 1})

    def disk_full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.write(path, {"epoch": 2})
    monkeypatch.undo()
    assert checkpoints.read(path) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_without_a_network_of_ones_own_the_shipped_one_is_taken_and_said_aloud(tmp_path, caplog):
    assert checkpoints.default_model(tmp_path) == str(tmp_path / "model.pt")  # told when it is read
    shipped = tmp_path / checkpoints.SHIPPED
    checkpoints.write(shipped, unet().state_dict())
    assert checkpoints.default_model(tmp_path) == str(shipped)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "which knows neuronal membranes in EM sections and nothing else" in caplog.text
    caplog.clear()
    checkpoints.write(tmp_path / "model.pt", unet().state_dict())
    assert checkpoints.default_model(tmp_path) == str(tmp_path / "model.pt")
    assert not caplog.records


def test_a_misspelt_checkpoint_is_told_with_what_may_be_meant(tmp_path):
    best = tmp_path / "runs" / "first" / "best.pt"
    checkpoints.write(best, unet().state_dict())
    with pytest.raises(FileNotFoundError, match=rf"frist/best\.pt does not exist; did you mean {best}\?"):
        checkpoints.require_file(tmp_path / "runs" / "frist" / "best.pt")
    with pytest.raises(FileNotFoundError, match=rf"bset\.pt does not exist; there are {best}"):
        checkpoints.require_file(best.with_name("bset.pt"))
    with pytest.raises(FileNotFoundError, match=rf"first is a folder; there are {best}"):
        checkpoints.require_file(best.parent)


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_reading_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"network": Evil()}, "evil.pt")
    with pytest.raises(ValueError, match=r"evil\.pt cannot be read"):
        checkpoints.read("evil.pt")
    assert not (tmp_path / "pwned").exists()


def test_truncated_and_missing_files_are_named(tmp_path):
    path = tmp_path / "model.pt"
    checkpoints.write(path, unet().state_dict())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.pt cannot be read: it is damaged"):
        checkpoints.read(path)
    with pytest.raises(FileNotFoundError, match=r"other\.pt does not exist; there are .*model\.pt"):
        checkpoints.read(tmp_path / "other.pt")


def test_load_takes_model_files_and_training_checkpoints(tmp_path):
    trained = unet()
    checkpoints.write(tmp_path / "model.pt", trained.state_dict())
    checkpoints.write(tmp_path / "last.pt", {"network": trained.state_dict(), "epoch": 3})
    for name in ("model.pt", "last.pt"):
        found = TrainedNetwork(tmp_path / name).load(unet())
        torch.testing.assert_close(dict(found.state_dict()), dict(trained.state_dict()))


def test_classifiers_that_only_training_uses_may_be_in_the_file_or_the_network_alone(tmp_path):
    for with_them, without in ((True, False), (False, True), (True, True)):
        trained, network = unet(depth=2, deep_supervision=with_them), unet(depth=2, deep_supervision=without)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        checkpoints.write(tmp_path / "model.pt", trained.state_dict())
        found = TrainedNetwork(tmp_path / "model.pt").load(network).state_dict()
        assert list(found) == list(before)
        for name, tensor in found.items():
            assert torch.equal(tensor, trained.state_dict().get(name, before[name]))


def test_another_architecture_is_refused_and_named(tmp_path):
    checkpoints.write(tmp_path / "model.pt", unet(base_channels=4, norm="batch").state_dict())
    network = unet()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"another architecture than UNet.*fits UNet\(.*channels=4.*norm='batch'"):
        TrainedNetwork(tmp_path / "model.pt").load(network)
    torch.testing.assert_close(dict(network.state_dict()), before)


def test_no_network_inside(tmp_path):
    checkpoints.write(tmp_path / "x.pt", {"epoch": 3})
    with pytest.raises(ValueError, match="holds no network"):
        TrainedNetwork(tmp_path / "x.pt").load(unet())


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"in_channels": 3, "out_channels": 5},
        {"depth": 3, "norm": "batch"},
        {"up_relu": True, "wide_last_up": True},
        {"spatial_dims": 3, "depth": 1, "wide_last_up": True},
        {"depth": 2, "deep_supervision": True},
    ],
)
def test_arguments_are_read_off_the_tensors(arguments):
    network = unet(**arguments)
    weights = network.state_dict()
    UNet(**unet_arguments(weights)).load_state_dict(weights)
    for part in ("down.0.", "down.1.", "up.", "classify."):  # names that another network may have, too
        assert unet_arguments({name: tensor for name, tensor in weights.items() if not name.startswith(part)}) == {}
    assert unet_arguments(torch.nn.Conv2d(1, 1, 1).state_dict()) == {}
