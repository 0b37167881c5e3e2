"""Training as a user runs it: what it leaves behind, how it resumes, what it tells MLflow."""

import json
import logging

import mlflow
import pytest
import torch
from ignite.engine import Events

from bundle.model import checkpoints
from bundle.model.architecture import unet_arguments
from tests.conftest import ROOT, TINY, said_by, table


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bundle_run, cells):
    """One run of the command line, with MONAI's own tracking switched on top of ours."""
    folder = tmp_path_factory.mktemp("trained")
    result = bundle_run(
        "training",
        "configs/train.json",
        dataset_dir=str(cells),
        output_dir=str(folder / "runs"),
        model_file=str(folder / "model.pt"),
        run_name="first",
        tracking="mlflow",
        real=True,
        **TINY,
    )
    assert result.returncode == 0, result.stderr
    return folder, result


def test_it_leaves_a_model_that_loads(trained):
    folder, _ = trained
    model = checkpoints.read(folder / "model.pt")
    assert all(isinstance(t, torch.Tensor) for t in model.values())
    assert unet_arguments(model)["base_channels"] == 2
    assert checkpoints.read(folder / "runs" / "first" / "last.pt")["epoch"] == 2


def test_it_says_how_it_goes(trained):
    _, result = trained
    assert "epoch 2/2" in result.stdout
    assert "val iou" in result.stdout


def test_it_leaves_a_history_and_pictures(trained):
    folder, _ = trained
    rows = table(folder / "runs" / "first" / "history.csv")
    losses = [float(row["value"]) for row in rows if row["name"] == "train/loss"]
    assert len(losses) == 8
    assert all(loss > 0 for loss in losses)
    assert {"val/iou", "val/pixel_error", "val/loss", "train/learning_rate"} <= {row["name"] for row in rows}
    assert list((folder / "runs" / "first" / "pictures").glob("*.png"))


def test_mlflow_has_one_run_with_everything(trained):
    folder, _ = trained
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    runs = [run for e in client.search_experiments() for run in client.search_runs(e.experiment_id)]
    assert [run.info.run_name for run in runs] == ["first"]  # and not a second one of --tracking mlflow
    (run,) = runs
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "0"
    assert run.data.params["network"] == "UNet"
    assert run.data.params["base_channels"] == "2"
    assert run.data.params["provenance.data_fingerprint"]
    assert run.data.params["provenance.package.torch"] == torch.__version__
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 8
    assert len(client.get_metric_history(run.info.run_id, "val/iou")) == 2
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"config.json", "history.csv", "best.pt", "pictures"} <= artifacts
    assert (folder / "runs" / "mlartifacts").is_dir()
    assert not (ROOT / "mlruns").exists()
    assert not (ROOT / "mlruns.db").exists()


def test_an_existing_run_is_not_written_over(trained, workflow):
    folder, _ = trained
    before = (folder / "runs" / "first" / "last.pt").read_bytes()
    assert "nothing is written over" in said_by(workflow(output_dir=str(folder / "runs"), run_name="first").run)
    assert (folder / "runs" / "first" / "last.pt").read_bytes() == before


class Killed(BaseException):
    """Stands for whatever ends a process in the middle of an epoch."""


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(workflow, tmp_path):
    options = {"max_epochs": 4, "val_interval": 2}
    whole = workflow(run_name="whole", **options)
    whole.run()

    def die(engine):
        raise Killed

    broken = workflow(run_name="broken", **options)
    broken.parser.get_parsed_content("train#trainer").add_event_handler(Events.ITERATION_COMPLETED(once=10), die)
    with pytest.raises(Killed):
        broken.run()
    assert checkpoints.read(tmp_path / "runs" / "broken" / "last.pt")["epoch"] == 2
    resumed = workflow(run_name="broken", resume=True, **options)
    resumed.run()

    for name in ("last.pt", "best.pt"):
        expected = checkpoints.read(tmp_path / "runs" / "whole" / name)
        found = checkpoints.read(tmp_path / "runs" / "broken" / name)
        for text in ("must_match", "settings"):  # which torch cannot compare
            assert found.pop(text, None) == expected.pop(text, None)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = {run.info.run_name: run for run in client.search_runs(experiment.experiment_id)}
    assert set(runs) == {"whole", "broken"}  # the resumed run went on in its own MLflow run
    assert runs["broken"].info.status == "FINISHED"


def test_resuming_with_other_settings_is_refused(workflow, tmp_path):
    workflow(run_name="mine", max_epochs=1).run()
    before = (tmp_path / "runs" / "mine" / "last.pt").read_bytes()
    others = {"samples_per_epoch": 3, "seed": 5, "held_out": 1, "optimizer#lr": 0.0001, "optimizer#weight_decay": 0.5}
    for name, value in others.items():
        assert f"{name.removeprefix('optimizer#')} {value} instead of" in said_by(
            workflow(run_name="mine", resume="true", max_epochs=2, **{name: value}).run
        )
        assert (tmp_path / "runs" / "mine" / "last.pt").read_bytes() == before


def test_a_run_of_the_recipe_before_is_told_how_to_go_on(workflow):
    workflow("ablation/sgd.json", run_name="old", max_epochs=1).run()
    assert "with configs/ablation/sgd.json right behind train.json" in said_by(
        workflow(run_name="old", resume=True, max_epochs=2).run
    )
    workflow("ablation/sgd.json", run_name="old", resume=True, max_epochs=2).run()


def test_resuming_a_complete_run_says_so_and_changes_nothing(workflow, tmp_path, caplog):
    workflow(run_name="done", max_epochs=2).run()
    names = ("runs/done/last.pt", "runs/done/best.pt", "runs/done/history.csv", "model.pt")
    before = [(tmp_path / name).stat() for name in names]
    with caplog.at_level(logging.INFO):
        workflow(run_name="done", resume=True, max_epochs=2).run()
    assert "is complete after 2 epochs; to continue, max_epochs must be above that, got 2" in caplog.text
    assert [(s.st_ino, s.st_mtime_ns) for s in before] == [
        (s.st_ino, s.st_mtime_ns) for s in ((tmp_path / name).stat() for name in names)
    ]
    assert "last.pt is in epoch 2; max_epochs must be at least that, got 1" in said_by(
        workflow(run_name="done", resume=True, max_epochs=1).run
    )


def test_one_seed_fixes_a_run(workflow, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        workflow(run_name=name, seed=seed, max_epochs=1).run()
    a, b, c = (checkpoints.read(tmp_path / "runs" / name / "best.pt") for name in "abc")
    torch.testing.assert_close(dict(a), dict(b), rtol=0, atol=0)
    assert not torch.equal(a["classify.weight"], c["classify.weight"])


def test_worker_processes_make_the_same_samples(workflow, tmp_path):
    """The second run is interrupted and goes on with another number of them."""
    workflow(run_name="alone", max_epochs=3).run()

    def die(engine):
        raise Killed

    broken = workflow(run_name="with", max_epochs=3, workers=2)
    trainer = broken.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), die)
    with pytest.raises(Killed):
        broken.run()
    workflow(run_name="with", max_epochs=3, workers=1, resume=True).run()
    alone, others = (checkpoints.read(tmp_path / "runs" / name / "last.pt")["network"] for name in ("alone", "with"))
    torch.testing.assert_close(dict(others), dict(alone), rtol=0, atol=0)


def test_without_validation_the_last_network_is_the_best(workflow, tmp_path):
    workflow(run_name="all", validation=0, max_epochs=1).run()
    last = checkpoints.read(tmp_path / "runs" / "all" / "last.pt")["network"]
    torch.testing.assert_close(dict(checkpoints.read(tmp_path / "model.pt")), dict(last))


def test_it_learns(workflow):
    quick = {"optimizer#lr": 0.003, "tile_size": 124, "base_channels": 8}
    flow = workflow(max_epochs=5, samples_per_epoch=40, val_interval=5, **quick)
    losses = []
    trainer = flow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: losses.append(engine.state.metrics["mean_loss"]))
    flow.run()
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.nightly
@pytest.mark.parametrize("options", [{}, {"val_interval": 5}, {"validation": 0}])  # 5: none behind the last step
def test_two_processes_train_one_network(options, bundle_run, cells, tmp_path):
    result = bundle_run(
        "training",
        ["configs/train.json", "configs/multi_gpu_train.json"],
        launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
        dataset_dir=str(cells),
        output_dir=str(tmp_path / "runs"),
        model_file=str(tmp_path / "model.pt"),
        run_name="both",
        **{**TINY, "cells#threshold": "auto", **options},
    )
    assert result.returncode == 0, result.stderr
    assert checkpoints.read(tmp_path / "runs" / "both" / "last.pt")["iteration"] == 4  # 2 epochs of 4 samples by two
    rows = table(tmp_path / "runs" / "both" / "history.csv")
    assert len([row for row in rows if row["name"] == "train/loss"]) == 4  # rank 0 alone
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    assert len(client.search_runs(experiment.experiment_id)) == 1


def test_the_configs_are_tidy_json():
    for file in sorted((ROOT / "configs").rglob("*.json")):
        text = file.read_text()
        json.loads(text)
        assert "\t" not in text, file
        assert all((len(line) - len(line.lstrip(" "))) % 4 == 0 for line in text.splitlines()), file


def test_a_training_may_begin_with_another_network(workflow, tmp_path):
    workflow(run_name="first", max_epochs=1).run()
    first = checkpoints.read(tmp_path / "runs" / "first" / "best.pt")
    workflow(
        run_name="second", max_epochs=1, pretrained=str(tmp_path / "runs/first/best.pt"), **{"optimizer#lr": 1e-30}
    ).run()
    second = checkpoints.read(tmp_path / "runs" / "second" / "best.pt")
    weights = [name for name in first if name.endswith(("weight", "bias"))]
    assert weights
    assert all(torch.equal(first[name], second[name]) for name in weights)
    assert "pretrained None instead of" in said_by(
        workflow(run_name="second", resume=True, max_epochs=2, **{"optimizer#lr": 1e-30}).run
    )
