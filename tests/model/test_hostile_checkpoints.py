"""Whatever a checkpoint holds: nothing of it runs, and it is refused by one sentence or read."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from bundle.model import checkpoints
from bundle.networks import UNet
from tests.data.hostile import edited, edits


@pytest.fixture(scope="module")
def sound() -> bytes:
    torch.manual_seed(0)
    network = UNet(spatial_dims=2, in_channels=1, out_channels=2, base_channels=2, depth=1)
    file = io.BytesIO()
    torch.save({"network": network.state_dict(), "epoch": 1, "complete": True}, file)
    return file.getvalue()


def read(path, content: bytes):
    """What is in it, or None where it is refused by a ValueError that names it; anything else is raised."""
    path.write_bytes(content)
    refused = None
    try:
        return checkpoints.read(path)
    except ValueError as error:
        refused = str(error)
    assert str(path) in refused
    assert "\n" not in refused
    return None


@settings(max_examples=60, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=edits)
def test_a_damaged_checkpoint_is_refused_or_read(sound, tmp_path, changes):
    read(tmp_path / "a.pt", edited(sound, changes))


def test_a_truncated_checkpoint_is_refused(sound, tmp_path):
    for length in [*range(1, len(sound), len(sound) // 60), len(sound) - 1]:
        assert read(tmp_path / "a.pt", sound[:length]) is None


class Runs:
    def __init__(self, sentinel):
        self.command = f"touch {sentinel}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "nested"])
def test_nothing_that_is_pickled_runs(form, sound, tmp_path):
    sentinel = tmp_path / "ran"
    content = {"network": Runs(sentinel), "epoch": 1}
    file = io.BytesIO()
    if form == "pickle":
        pickle.dump(content, file)
    elif form == "nested":  # in place of the data of a sound one
        with zipfile.ZipFile(io.BytesIO(sound)) as before, zipfile.ZipFile(file, "w") as after:
            for name in before.namelist():
                after.writestr(name, pickle.dumps(content) if name.endswith("data.pkl") else before.read(name))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    assert read(tmp_path / "a.pt", file.getvalue()) is None
    assert not sentinel.exists()


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_tensor_larger_than_the_file_is_refused(form, tmp_path):
    file = io.BytesIO()
    torch.save({"a": torch.zeros(0x1234)}, file, _use_new_zipfile_serialization=form == "zip")
    content = file.getvalue()
    number = pickle.BININT2 + (0x1234).to_bytes(2, "little")
    huge = pickle.BININT + (2**31 - 1).to_bytes(4, "little")
    assert number in content
    if form == "zip":
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(made, "w") as after:
            for name in before.namelist():
                after.writestr(name, before.read(name).replace(number, huge))
        content = made.getvalue()
    else:
        content = content.replace(number, huge)
    assert read(tmp_path / "a.pt", content) is None
