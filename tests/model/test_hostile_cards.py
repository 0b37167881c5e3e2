"""A card is data: whatever it holds, nothing of it runs, and each command refuses it by one sentence or works."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.model import TrainedNetwork, checkpoints, trained_network
from bundle.model.card import write_card
from bundle.networks import UNet
from label_app.prepare import prepare

ARGUMENTS = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "base_channels": 2, "depth": 2, "norm": "batch"}
CARD = {
    "run": "mine",
    "mlflow_run_id": "1",
    "network": {"_target_": "bundle.networks.UNet", **ARGUMENTS},
    "image": {"channels": 1, "channel_names": ["a"], "select": [0], "standardize": {"robust": False}},
    "cells": {"threshold": 0.6, "min_size": 5},
    "split": {"held_out": 1, "fold": None},
    "data": {"fingerprint": "f", "images_by": "pixels", "trained_on": {"a": "1"}, "validated_on": {}},
    "result": {"epochs": 1},
    "provenance": {"python": "3"},
    "config": {"experiment_name": "x", "cells": {"threshold": 0.6}, "max_epochs": 1},
}


@pytest.fixture(autouse=True, scope="module")
def no_waiting():
    before, trained_network._PATIENCE = trained_network._PATIENCE, 0
    yield
    trained_network._PATIENCE = before


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    torch.manual_seed(0)
    checkpoints.write(folder / "model.pt", UNet(**ARGUMENTS).state_dict())
    return folder / "model.pt"


def attacks(sentinel):
    """What would run if a card came into a config as it is."""
    touch = f"__import__('pathlib').Path({str(sentinel)!r}).touch()"
    return [
        f"${touch}",
        f" ${touch}",
        {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(sentinel)]}},
        {"_target_": "os.system", "command": f"touch {sentinel}"},
        {"_target_": "builtins.eval", "_mode_": "callable", "source": touch},
        [[f"${touch}"]],
        {"deep": [{"er": f"${touch}"}]},
        "@network_def",
        "%configs/train.json::run",
    ]


def use(model, folder):
    """Everything that takes a checkpoint, in process; each may refuse by a ValueError, and by nothing else."""
    network = TrainedNetwork(model)
    for action in (
        network.build,
        network.load,
        network.cell_options,
        network.origin,
        network.channels,
        lambda: network.require_unseen([], "held_out"),
        lambda: prepare(folder / "app", model=model),
        lambda: network.copy_to(folder / "copy.pt"),
    ):
        with contextlib.suppress(ValueError):
            action()


def places(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from places(inner, (*path, key))


PLACES = [path for path in places(CARD) if path]


@given(
    place=st.sampled_from(PLACES), which=st.integers(0, 8), add=st.sampled_from([None, "max_epochs", "dropout", "x"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_nothing_of_a_card_runs(model, tmp_path, place, which, add):
    sentinel = tmp_path / "sentinel"
    card = copy.deepcopy(CARD)
    holder = card
    for key in place[:-1]:
        holder = holder[key]
    attack = attacks(sentinel)[which]
    if add is not None and isinstance(holder[place[-1]], dict):
        holder[place[-1]][add] = attack
    else:
        holder[place[-1]] = attack
    model.with_suffix(".json").write_text(json.dumps(card))
    use(model, tmp_path)
    assert not sentinel.exists()
    folder = tmp_path / "app" / "model" / "cells" / "configs" / "train.json"
    if folder.exists():
        assert str(sentinel) not in folder.read_text()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(entries=st.dictionaries(st.sampled_from([*CARD, "sha256", "other"]), json_values, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_any_json_is_refused_by_a_sentence_or_works(model, tmp_path, entries):
    model.with_suffix(".json").write_text(json.dumps({**CARD, **entries}))
    use(model, tmp_path)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("network", {**CARD["network"], "max_epochs": 3}, "got an unexpected keyword argument 'max_epochs'; allowed"),
        ("network", {**CARD["network"], "dropout": {"_target_": "os.system"}}, "got an object with '_target_'"),
        ("network", {**CARD["network"], "depth": "$2"}, r"would be run as code"),
        ("network", {"_target_": "os.system"}, "is none of this bundle"),
        ("cells", {"threshold": {"_target_": "os.system"}}, "got an object with '_target_'"),
        ("cells", {"threshold": "high"}, "threshold must be a number, got 'high'"),
        ("cells", {"treshold": 0.5}, "did you mean cells#threshold"),
        ("data", {"trained_on": ["a"]}, "must give a digest for the name of each image"),
        ("netwrok", {}, "unknown entry 'netwrok': did you mean network"),
    ],
)
def test_what_is_refused_is_named(model, tmp_path, entry, value, message):
    model.with_suffix(".json").write_text(json.dumps({**CARD, entry: value}))
    network = TrainedNetwork(model)
    with pytest.raises(ValueError, match=message):
        (network.build(), network.cell_options())


@pytest.mark.parametrize("command", ["inference", "prepare", "publish"])
def test_the_commands_run_nothing(model, tmp_path, cells, command, python_m):
    sentinel = tmp_path / "sentinel"
    attack = f"$__import__('pathlib').Path({str(sentinel)!r}).touch()"
    path = tmp_path / "model.pt"
    path.write_bytes(model.read_bytes())
    write_card(path.with_suffix(".json"), {**CARD, "network": {**CARD["network"], "max_epochs": attack}}, of=path)
    words = {
        "inference": ["monai.bundle", "run", "--config_file", "configs/inference.json", "--checkpoint", str(path)],
        "prepare": ["label_app.prepare", "--app", str(tmp_path / "app"), "--model", str(path)],
        "publish": ["bundle.model.publish", str(tmp_path)],
    }[command]
    if command == "inference":
        words += ["--dataset_dir", str(cells / "test"), "--output_dir", str(tmp_path / "out")]
    if command == "publish":
        checkpoints.write(tmp_path / "last.pt", {"complete": True})
        (tmp_path / "best.pt").write_bytes(model.read_bytes())
        (tmp_path / "card.json").write_text((tmp_path / "model.json").read_text())
        words += ["--to", str(tmp_path / "published.pt")]
    done = python_m(*words)
    assert done.returncode != 0
    assert "error: " in done.stderr
    assert "would be run as code" in done.stderr
    assert not sentinel.exists()
