"""A flipped bit anywhere in a checkpoint or in a card is found when the file is read."""

import io
import json
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.model import checkpoints
from bundle.model.card import read_card, write_card
from bundle.model.seal import is_whole

CONTENT = {"network": {"weight": torch.arange(6.0)}, "optimizer": {"state": {0: torch.ones(6)}}, "epoch": 1}
CARD = {
    "network": {"_target_": "bundle.networks.UNet", "depth": 4},
    "data": {"trained_on": {"é": "1a"}, "images_by": "pixels"},
    "result": {"loss": 1e-05, "epochs": 3},
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "last.pt"
    checkpoints.write(path, CONTENT)
    return path


def flipped(data, place, bit):
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def test_every_byte_counts(file):
    data = file.read_bytes()
    assert is_whole(io.BytesIO(data))
    for place in range(len(data)):
        assert not is_whole(io.BytesIO(flipped(data, place, place % 8))), place
    for size in range(3, len(data)):
        assert not is_whole(io.BytesIO(data[:size])), size


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_checkpoint_with_a_flipped_bit_is_refused(file, tmp_path_factory, place, bit):
    data = file.read_bytes()
    damaged = tmp_path_factory.mktemp("flipped") / "best.pt"
    damaged.write_bytes(flipped(data, int(place * len(data)), bit))
    for given_data in (None, damaged.read_bytes()):
        with pytest.raises(ValueError, match=r"best\.pt cannot be read: it is damaged \(not as it was written\)"):
            checkpoints.require_whole(damaged, given_data)
    with pytest.raises(ValueError, match="it is damaged"):
        checkpoints.read(damaged)


def test_what_torch_reads_without_notice_is_refused_in_files_of_version_0_1_too(file, tmp_path):
    old = tmp_path / "old.pt"
    torch.save(CONTENT, old)
    assert checkpoints.read(old)["epoch"] == 1
    data = old.read_bytes()
    old.write_bytes(flipped(data, data.index(torch.arange(6.0).numpy().tobytes()) + 8, 0))
    assert torch.load(old, weights_only=True)["network"]["weight"][2] != 2
    with pytest.raises(ValueError, match="it is damaged"):
        checkpoints.read(old)


def test_others_read_the_file_as_any_archive(file):
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"sha256:")
    for options in ({}, {"mmap": True}):
        assert torch.load(file, weights_only=True, **options)["epoch"] == 1


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_card_with_a_flipped_bit_is_refused_or_says_the_same(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("card") / "model.json"
    write_card(path, CARD)
    data = path.read_bytes()
    path.write_bytes(flipped(data, int(place * len(data)), bit))
    try:
        found = read_card(path)
    except ValueError as error:
        found = error
    assert found == CARD or str(path) in str(found)  # the first with 1E-05, say


def test_a_card_that_is_not_as_it_was_written_is_called_damaged(tmp_path):
    path = tmp_path / "model.json"
    write_card(path, CARD)
    path.write_text(path.read_text().replace('"epochs": 3', '"epochs": 2'))
    with pytest.raises(ValueError, match=r'damaged, it does not match its checksum: .*\("checksum" alone, if you'):
        read_card(path)
    content = json.loads(path.read_text())
    del content["checksum"]
    path.write_text(json.dumps(content))
    assert read_card(path)["result"]["epochs"] == 2
