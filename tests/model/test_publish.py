"""The command that makes a run's network the one of inference, and what it refuses."""

import pytest
import torch

from bundle.model import TrainedNetwork, checkpoints
from bundle.model.card import write_card
from bundle.model.int8_file import Int8Network
from bundle.model.publish import how_to_publish, is_published, publish
from bundle.networks import UNet


@pytest.fixture
def run(tmp_path):
    """Makes the folder of a run."""

    def make(name, width, complete=True):
        folder, network = tmp_path / "runs" / name, UNet(2, 1, 2, base_channels=width, depth=2, norm="batch")
        checkpoints.write(folder / "best.pt", network.state_dict())
        done = {"complete": True} if complete else {}
        checkpoints.write(folder / "last.pt", {"network": network.state_dict(), "epoch": 1, **done})
        write_card(folder / "card.json", {"config": {"experiment_name": name}, "data": {"trained_on": {"a": "1"}}})
        return folder

    return make


def test_a_network_and_its_card_take_the_place_of_those_before(run, tmp_path):
    one, two, model = run("one", 2), run("two", 4), tmp_path / "models" / "model.pt"
    assert publish(one, model) == f"{model} is now the network of {one} (one, trained on 1 image: a)"
    assert is_published(one, model)
    told = how_to_publish(two, model)
    assert told == (
        f"{model} stays as it is (one, trained on 1 image: a); to publish this run instead: "
        f"python -m bundle.model.publish {two} --to {model}"
    )
    assert publish(two, model).endswith("; before, it was one, trained on 1 image: a")
    assert model.read_bytes() == (two / "best.pt").read_bytes()
    assert TrainedNetwork(model).card["config"] == {"experiment_name": "two"}
    before = model.stat().st_mtime_ns
    assert publish(two, model) == f"{model} is the network of {two} already: nothing to do"
    assert model.stat().st_mtime_ns == before
    assert sorted(file.name for file in model.parent.iterdir()) == ["model.json", "model.pt"]


def test_a_card_that_is_missing_is_added(run, tmp_path):
    one, model = run("one", 2), tmp_path / "model.pt"
    publish(one, model)
    model.with_suffix(".json").write_text("[damaged")  # as when a process is killed between the two files
    model.with_suffix(".json").unlink()
    assert publish(one, model) == f"{model} is now the network of {one} (one, trained on 1 image: a)"
    assert TrainedNetwork(model).origin() == "one, trained on 1 image: a"


def test_an_int8_form_that_was_made_later_is_brought(run, tmp_path):
    one, model = run("one", 2), tmp_path / "model.pt"
    publish(one, model)
    Int8Network("<net/>", torch.zeros(3, dtype=torch.uint8), "digest").write(one / "best.pt")
    assert publish(one, model) == f"{model} is now the network of {one} (one, trained on 1 image: a)"
    assert Int8Network.beside(model).graph == "<net/>"
    assert publish(one, model).endswith("nothing to do")


def test_what_inference_could_not_load_is_refused(run, tmp_path):
    model = tmp_path / "model.pt"
    publish(run("one", 2), model)
    kept = model.read_bytes()
    unfinished, damaged, foreign = run("unfinished", 2, complete=False), run("damaged", 2), run("foreign", 2)
    (damaged / "best.pt").write_bytes(b"half a file")
    write_card(foreign / "card.json", {"network": {"_target_": "monai.networks.nets.BasicUNet"}})
    for folder, message in (
        (unfinished, f"run {unfinished} is not complete: .*--run_name unfinished --resume true"),
        (damaged, r"best\.pt cannot be read: it is damaged"),
        (foreign, "none of this bundle"),
    ):
        with pytest.raises(ValueError, match=message):
            publish(folder, model)
    with pytest.raises(FileNotFoundError, match=r"there is no run .*did you mean .*damaged"):
        publish(tmp_path / "runs" / "damagd", model)
    (damaged := run("int8", 4)).joinpath("best.int8.pt").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"best\.int8\.pt cannot be read: it is damaged"):
        publish(damaged, model)
    assert model.read_bytes() == kept


def test_the_command(run, tmp_path, python_m):
    one = run("one", 2)
    done = python_m("bundle.model.publish", one, "--to", tmp_path / "model.pt")
    assert done.stdout == f"{tmp_path / 'model.pt'} is now the network of {one} (one, trained on 1 image: a)\n"
    assert done.stderr == ""
    done = python_m("bundle.model.publish", tmp_path / "runs" / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no run")
