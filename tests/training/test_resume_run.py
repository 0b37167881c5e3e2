"""A resumed run finds damaged and lost files before its first step, and makes what a kill left out."""

from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from bundle import atomic
from bundle.model import checkpoints
from bundle.training import SaveRun


def train(run_dir, weights, best_epoch=None, made=None, **options):
    """Epochs of one step, which sets the network's one number; ``best_epoch`` is what the validation thinks.

    Returns:
        ``made``, to which the steps that were made are added.
    """
    network, made = nn.Linear(1, 1, bias=False), [] if made is None else made

    def step(engine, batch):
        made.append(engine.state.epoch)
        network.weight.data.fill_(weights[engine.state.epoch - 1])

    trainer, evaluator = Engine(step), None
    if best_epoch is not None:
        evaluator = Engine(lambda engine, batch: None)
        evaluator.state = SimpleNamespace(best_metric=0.5, best_metric_epoch=-1)
        validated = Events.EPOCH_COMPLETED(once=best_epoch)
        trainer.add_event_handler(validated, lambda: setattr(evaluator.state, "best_metric_epoch", best_epoch))
    SaveRun(run_dir, network, {}, evaluator, resume=run_dir.exists(), **options).attach(trainer)
    trainer.run([0], max_epochs=len(weights))
    return made


def best(run_dir):
    return checkpoints.read(run_dir / "best.pt")["weight"].item()


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
@pytest.mark.parametrize("best_epoch", [None, 1])
def test_a_damaged_file_is_found_at_the_start(tmp_path, name, best_epoch):
    train(tmp_path / "run", [1.0, 2.0], best_epoch)
    file = tmp_path / "run" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name} cannot be read: it is damaged"):
        train(tmp_path / "run", [1.0, 2.0, 3.0], best_epoch, made := [])
    assert made == []
    assert file.read_bytes() == data


def test_a_lost_best_network_is_missed_at_the_start(tmp_path):
    train(tmp_path / "run", [1.0, 2.0], best_epoch=1)
    (tmp_path / "run" / "best.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"best\.pt of epoch 1 is gone\. To resume, put a copy of it back"):
        train(tmp_path / "run", [1.0, 2.0, 3.0], 1, made := [])
    assert made == []


@pytest.mark.parametrize("best_epoch", [None, 2])
@pytest.mark.parametrize("before", [None, 1.0])
def test_killed_between_the_two_files_of_an_epoch(tmp_path, best_epoch, before):
    """What is the network of the last epoch is in ``last.pt``, which is written first."""
    run_dir, written = tmp_path / "run", []
    write, checkpoints.write = checkpoints.write, lambda path, *rest: (written.append(path.name), write(path, *rest))
    try:
        train(run_dir, [1.0, 2.0], best_epoch)
    finally:
        checkpoints.write = write
    assert written == ["last.pt", "best.pt", "last.pt", "best.pt", "last.pt"]
    (run_dir / "best.pt").unlink()
    if before is not None:
        checkpoints.write(run_dir / "best.pt", {"weight": torch.full((1, 1), before)})
    assert train(run_dir, [1.0, 2.0], best_epoch) == []
    assert best(run_dir) == 2.0


def test_what_is_there_already_is_not_written_again(tmp_path):
    train(tmp_path / "run", [1.0, 2.0])
    before = (tmp_path / "run" / "best.pt").stat()
    train(tmp_path / "run", [1.0, 2.0])
    assert (tmp_path / "run" / "best.pt").stat().st_ino == before.st_ino


def test_what_a_kill_left_beside_the_model_is_removed(tmp_path):
    """Also when the model itself was already in its place."""
    options = {"model_file": tmp_path / "models" / "model.pt"}
    train(tmp_path / "run", [1.0], **options)
    with pytest.raises(FileNotFoundError), atomic.replacing(options["model_file"]) as part:
        left = part.parent
    left.mkdir()
    train(tmp_path / "run", [1.0], **options)
    assert [file.name for file in options["model_file"].parent.iterdir()] == ["model.pt"]
