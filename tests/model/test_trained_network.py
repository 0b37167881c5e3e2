"""One object for a network on disk: its file is read once, and again when it is replaced."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from bundle.model import TrainedNetwork, checkpoints
from bundle.model.card import write_card
from bundle.model.int8_file import Int8Network
from bundle.networks import UNet
from tests.conftest import inference


def unet(base_channels=2):
    return UNet(2, 1, 2, base_channels=base_channels, depth=2, norm="batch")


@pytest.fixture
def model(tmp_path):
    checkpoints.write(tmp_path / "model.pt", unet().state_dict())
    entry = {"_target_": "bundle.networks.UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2}
    entry |= {"base_channels": 2, "depth": 2, "norm": "batch"}
    write_card(tmp_path / "model.json", {"network": entry}, of=tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.fixture
def reads(model, monkeypatch):
    """The model's file, as often as it has been opened."""
    found, read = [], Path.read_bytes

    def counted(path):
        if path == model:
            found.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    return found


def test_an_inference_reads_the_file_once(model, reads, tmp_path):
    image = np.random.RandomState(0).randint(0, 255, (60, 70)).astype(np.uint8)
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", image, photometric="minisblack")
    inference(dataset_dir=tmp_path / "images", output_dir=tmp_path / "out", checkpoint=model, device="cpu").run()
    assert (tmp_path / "out" / "summary.csv").is_file()
    assert reads == [model]


def test_a_file_that_is_replaced_is_read_again(model, reads):
    trained = TrainedNetwork(model)
    first = trained.load()
    assert (trained.card["network"]["base_channels"], len(reads)) == (2, 1)
    version = trained.version
    checkpoints.write(model, unet(base_channels=4).state_dict())
    os.utime(model, (1, 1))
    assert trained.version != version
    with pytest.raises(ValueError, match="describes another file"):
        _ = trained.card
    model.with_suffix(".json").unlink()
    second = trained.load()
    assert (first.classify.in_channels, second.classify.in_channels, len(reads)) == (2, 4, 2)


def test_a_file_that_is_being_replaced_is_waited_for(model, monkeypatch):
    """The card takes its place right before the weights do; who reads between the two looks again."""
    other = model.parent / "other" / "model.pt"
    checkpoints.write(other, unet(base_channels=4).state_dict())
    write_card(model.with_suffix(".json"), {"result": {"epochs": 2}}, of=other)
    monkeypatch.setattr("time.sleep", lambda seconds: os.replace(other, model) if seconds else None)
    assert TrainedNetwork(model).card["result"] == {"epochs": 2}


def test_a_copy_without_a_card_takes_away_the_one_of_the_network_before(model, tmp_path):
    checkpoints.write(tmp_path / "plain" / "best.pt", unet().state_dict())
    TrainedNetwork(tmp_path / "plain" / "best.pt").copy_to(model)
    assert TrainedNetwork(model).card == {}
    assert not model.with_suffix(".json").exists()


def test_a_copy_that_does_not_fit_on_the_disk_takes_nothing_away(model, tmp_path, monkeypatch):
    Int8Network("graph", torch.zeros(3, dtype=torch.uint8), "digest").write(model)
    checkpoints.write(tmp_path / "run" / "best.pt", unet(4).state_dict())
    before = {file: file.read_bytes() for file in tmp_path.glob("model*")}
    assert len(before) == 3

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(checkpoints.DiskFullError):
        TrainedNetwork(tmp_path / "run" / "best.pt").copy_to(model)
    assert {file: file.read_bytes() for file in tmp_path.glob("model*")} == before


def test_a_file_that_is_not_there_yet(tmp_path):
    trained = TrainedNetwork(tmp_path / "model.pt")
    assert (trained.card, trained.origin()) == ({}, "of unknown training")
    for ask in (lambda: trained.weights, lambda: trained.version, trained.load):
        with pytest.raises(FileNotFoundError, match="does not exist; train a network first"):
            ask()
    checkpoints.write(tmp_path / "model.pt", unet().state_dict())
    assert trained.load().depth == 2


def test_a_copy_has_the_bytes_and_the_card(model, tmp_path):
    TrainedNetwork(model).copy_to(tmp_path / "app" / "other.pt")
    copy = TrainedNetwork(tmp_path / "app" / "other.pt")
    assert copy.path.read_bytes() == model.read_bytes()
    assert copy.card == TrainedNetwork(model).card
    checkpoints.write(tmp_path / "last.pt", {"network": unet().state_dict(), "epoch": 1})
    TrainedNetwork(tmp_path / "last.pt").copy_to(tmp_path / "plain.pt")  # the network only
    assert torch.load(tmp_path / "plain.pt", weights_only=True).keys() == unet().state_dict().keys()
    assert not (tmp_path / "plain.json").exists()
