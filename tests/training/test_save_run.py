"""What a training publishes, and which run may be resumed."""

import json

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from bundle.console import own_cause
from bundle.model import checkpoints, renamed
from bundle.model.renamed import Renamed
from bundle.training import SaveRun

SPLIT = {"fold": 0, "seed": 3}


def train(run_dir, weight, epochs=1, **options):
    """A training whose network is one number; whatever was trained before is replaced by it."""
    network = nn.Linear(1, 1, bias=False)
    saver = SaveRun(run_dir, network, {}, **{"must_match": SPLIT, **options})
    trainer = Engine(lambda engine, batch: network.weight.data.fill_(weight))
    saver.attach(trainer)
    trainer.run([0, 1], max_epochs=epochs)


def published(model):
    return checkpoints.read(model)["weight"].item()


def test_the_first_training_publishes_and_a_later_one_says_how(tmp_path, capsys):
    model = tmp_path / "models" / "model.pt"
    train(tmp_path / "one", 1.0, model_file=model)
    assert published(model) == 1.0
    assert capsys.readouterr().out == ""
    train(tmp_path / "two", 2.0, model_file=model)
    assert published(model) == 1.0
    said = capsys.readouterr().out
    assert said.startswith(f"{model} stays as it is (of unknown training); to publish this run instead: ")
    assert said.endswith(f"python -m bundle.model.publish {tmp_path / 'two'} --to {model}\n")
    assert checkpoints.read(tmp_path / "two" / "last.pt")["complete"]
    model.with_suffix(".json").write_text("[damaged")
    train(tmp_path / "three", 3.0, model_file=model)  # which ends it no other way
    assert checkpoints.read(tmp_path / "three" / "last.pt")["complete"]


@pytest.mark.parametrize(("publish", "expected"), [("if_none", 1.0), ("always", 2.0), ("never", 1.0)])
def test_when_a_network_is_replaced(tmp_path, publish, expected):
    train(tmp_path / "one", 1.0, model_file=tmp_path / "model.pt")
    train(tmp_path / "two", 2.0, model_file=tmp_path / "model.pt", publish=publish)
    assert published(tmp_path / "model.pt") == expected


def test_never_publishes_nothing_and_another_word_is_refused(tmp_path):
    train(tmp_path / "one", 1.0, model_file=tmp_path / "model.pt", publish="never")
    assert not (tmp_path / "model.pt").exists()
    with pytest.raises(ValueError, match="publish must be one of if_none, always, never, got 'allways'"):
        SaveRun(tmp_path / "one", nn.Linear(1, 1), {}, publish="allways")


@pytest.mark.parametrize("publish", ["if_none", "always"])
def test_a_complete_run_does_not_come_back_over_a_later_one(tmp_path, publish):
    model = tmp_path / "model.pt"
    train(tmp_path / "one", 1.0, model_file=model)
    train(tmp_path / "two", 2.0, model_file=model, publish="always")
    train(tmp_path / "one", 1.0, model_file=model, publish=publish, resume=True)
    assert published(model) == 2.0


def test_another_run_is_not_gone_on_with(tmp_path):
    train(tmp_path / "run", 1.0)
    train(tmp_path / "run", 1.0, epochs=2, resume=True)
    for other, message in (
        (SPLIT | {"fold": 1}, r"\(fold 1 instead of 0\)"),
        ({"seed": 3}, r"\(fold not given instead of 0\)"),
        (SPLIT | {"blocks": True}, r"\(blocks True instead of not given\)"),
        ({"seed": 3, "part": 0}, r"\(part 0 instead of not given, fold not given instead of 0\)"),
    ):
        with pytest.raises(ValueError, match=f"other settings {message}: repeat its command"):
            train(tmp_path / "run", 1.0, epochs=3, resume=True, must_match=other)


def test_a_run_of_an_earlier_version_is_compared_under_todays_names(tmp_path, monkeypatch):
    monkeypatch.setattr(renamed, "RENAMED", (*renamed.RENAMED, Renamed("must_match", "part", "fold")))
    train(tmp_path / "run", 1.0)
    last = checkpoints.read(tmp_path / "run" / "last.pt")
    kept = last.pop("must_match")
    assert kept == {"fold": "0", "seed": "3"}
    torch.save({**last, "identity": {"part": "0", "seed": "3"}}, tmp_path / "run" / "last.pt")
    with pytest.raises(ValueError, match=r"\(fold 1 instead of 0\)"):
        train(tmp_path / "run", 1.0, epochs=2, resume=True, must_match=SPLIT | {"fold": 1})
    train(tmp_path / "run", 1.0, epochs=2, resume=True)
    assert checkpoints.read(tmp_path / "run" / "last.pt")["must_match"] == kept


def test_a_run_does_not_resume_with_settings_that_change_what_is_trained(workflow, tmp_path):
    options = {"run_name": "one", "max_epochs": 1}
    workflow(**options).run()
    card = (tmp_path / "runs" / "one" / "card.json").read_bytes()
    changes = {
        "tile_size": 76,
        "weight_map#w0": 0.0,
        "elastic#sigma": 3.0,
        "loss#reduction": "sum",
        "lr_scheduler#warmup": 0.2,
        "network_def#dropout": 0.1,
        "cells#threshold": 0.9,
    }
    resumed = workflow(**{**options, "max_epochs": 2, "resume": True, **changes})
    with pytest.raises(RuntimeError) as refused:
        resumed.run()
    cause = own_cause(refused.value)
    assert isinstance(cause, ValueError)
    for name, value in changes.items():
        text = value if isinstance(value, str) else json.dumps(value)
        assert f"{name.replace('#', '.')} {text} instead of" in str(cause), name
    assert (tmp_path / "runs" / "one" / "card.json").read_bytes() == card
    free = {"patience": 3, "val_interval": 2, "train#dataloader#num_workers": 0, "experiment_name": "another"}
    workflow(**{**options, "max_epochs": 2, "resume": True, **free}).run()


def test_a_checkpoint_that_lacks_entries_is_named(tmp_path):
    train(tmp_path / "run", 1.0)
    last = tmp_path / "run" / "last.pt"
    for name in ("iteration", "best_metric", "network"):
        content = {key: value for key, value in checkpoints.read(last).items() if key != name}
        other = tmp_path / f"without_{name}"
        checkpoints.write(other / "last.pt", content)
        with pytest.raises(ValueError, match=f"last.pt lacks {name}: it cannot be resumed"):
            train(other, 2.0, epochs=2, resume=True)
