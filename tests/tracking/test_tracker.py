"""One training is one MLflow run, whatever happens to the training or to the store."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import socket
import threading
import weakref
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from mlflow import MlflowClient
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MLFlowHandler, StatsHandler, ValidationHandler

from bundle.tracking import MLflowTracker, TrackMetrics, earlier_run_id, sqlite_uri
from bundle.tracking import mlflow_store as store_of


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One database for all tests, to which every test brings its own experiment."""
    return sqlite_uri(tmp_path_factory.mktemp("store with space"))


@pytest.fixture
def tracker(store, tmp_path, request):
    def make(**options):
        defaults = {"tracking_uri": store, "experiment_name": request.node.name}
        return MLflowTracker(**{"run_dir": tmp_path / "run", **defaults, **options})

    return make


def runs(store, experiment):
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else client.search_runs([found.experiment_id])


def history(store, run_id, name):
    return [(metric.step, metric.value) for metric in MlflowClient(store).get_metric_history(run_id, name)]


def rows(run_dir, name):
    with open(run_dir / "history.csv", newline="") as stream:
        return [(int(r["iteration"]), float(r["value"])) for r in csv.DictReader(stream) if r["name"] == name]


def train(*handlers, epochs=2, steps=3, step=lambda engine, batch: engine.state.iteration / 10):
    engine = Engine(step)
    for handler in handlers:
        handler.attach(engine)
    engine.run(range(steps), max_epochs=epochs)
    return engine


def data(n):
    return [{"image": torch.full((1, 1, 2, 2), float(i + 1)), "label": torch.zeros(1, 1, 2, 2)} for i in range(n)]


def monai_engines(train_handlers, val_handlers):
    network = torch.nn.Conv2d(1, 1, 1)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=data(1),
        network=network,
        key_val_metric={"height": Average(output_transform=lambda output: output[0]["image"].mean())},
        val_handlers=val_handlers,
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=data(3),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.25),
        loss_function=torch.nn.MSELoss(),
        train_handlers=[*train_handlers(evaluator)],
    )
    return trainer, evaluator


class Publish:
    """Like the handler of the checkpoints: the model file appears only when training is complete."""

    def __init__(self, path):
        self.path = path

    def attach(self, engine):
        engine.add_event_handler(Events.COMPLETED, lambda: self.path.write_text("weights"))


def test_a_training_with_validation_is_one_complete_run(tracker, store, tmp_path):
    model = tmp_path / "model.pt"
    one = tracker(
        params={"net": {"depth": 4, "odd&key": "x" * 7000}, "seed": 3},
        config={"device": torch.device("cpu"), "lr": 0.25, "chain": [{"_target_": "A", "keys": ["x", "@y"]}]},
        data_fingerprint="f00d",
        tags={"who": "me"},
        artifacts=[model],
    )
    trainer, _ = monai_engines(
        lambda evaluator: [one, ValidationHandler(1, evaluator), Publish(model)], [TrackMetrics(one)]
    )
    trainer.run()

    (run,) = runs(store, one.experiment_name)
    assert run.info.run_id == one.run_id == earlier_run_id(tmp_path / "run")
    assert run.info.status == "FINISHED"
    losses = history(store, one.run_id, "train/loss")
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]
    assert losses[-1][1] == pytest.approx(trainer.state.output[0]["loss"])
    assert history(store, one.run_id, "train/learning_rate") == [(step, 0.25) for step in range(1, 7)]
    assert history(store, one.run_id, "val/height") == [(3, 1), (6, 1)]
    assert history(store, one.run_id, "val/best_height") == [(3, 1), (6, 1)]
    assert all(0 < seconds < 60 for _, seconds in history(store, one.run_id, "train/seconds_step"))
    assert all(0 < seconds < 60 for _, seconds in history(store, one.run_id, "train/seconds_data"))
    for name in ("train/loss", "val/height"):
        assert rows(tmp_path / "run", name) == history(store, one.run_id, name)

    assert run.data.params["net.depth"] == "4"
    assert run.data.params["net.odd_key"] == "x" * 6000
    assert (run.data.params["seed"], run.data.params["max_epochs"]) == ("3", "2")
    assert run.data.params["provenance.package.torch"] == torch.__version__
    assert run.data.params["provenance.data_fingerprint"] == "f00d"
    assert run.data.tags["who"] == "me"
    client = MlflowClient(store)
    assert {a.path for a in client.list_artifacts(one.run_id)} == {"config.json", "history.csv", "model.pt"}
    config = client.download_artifacts(one.run_id, "config.json", str(tmp_path))
    chain = [{"_target_": "A", "keys": ["x", "@y"]}]
    assert json.loads(Path(config).read_text()) == {"device": "cpu", "lr": 0.25, "chain": chain}
    assert not [name for name in run.data.params if name.startswith("config.")]  # not made from train.json
    assert run.data.tags["mlflow.source.name"]
    assert run.data.tags["mlflow.note.content"].startswith("Made by")
    (data_set,) = run.inputs.dataset_inputs
    assert (data_set.dataset.digest, data_set.tags[0].value) == ("f00d", "training")
    assert (Path(store.removeprefix("sqlite:///")).parent / "mlartifacts").is_dir()


def test_an_exception_ends_the_run_as_failed_and_is_raised_again(tracker, store):
    def step(engine, batch):
        if engine.state.iteration == 4:
            raise RuntimeError("loss is gone")
        return 0.5

    one = tracker()
    with pytest.raises(RuntimeError, match="loss is gone"):
        # StatsHandler raises again itself, and would be the last handler to hear of it
        train(StatsHandler(output_transform=lambda x: x), one, step=step)
    (run,) = runs(store, one.experiment_name)
    assert run.info.status == "FAILED"
    assert run.data.tags["exception"] == "RuntimeError: loss is gone"
    assert history(store, one.run_id, "train/loss") == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_sigterm_ends_the_run_as_killed(tracker, store):
    def step(engine, batch):
        if engine.state.iteration == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return 0.5

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    one = tracker()
    with pytest.raises(SystemExit) as stop:
        train(one, step=step)
    assert stop.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    (run,) = runs(store, one.experiment_name)
    assert run.info.status == "KILLED"
    assert len(history(store, one.run_id, "train/loss")) == 3


def test_a_run_of_the_same_name_is_never_taken_over(tracker, store, tmp_path):
    crashed = tracker(run_name="same", run_dir=tmp_path / "a")
    engine = Engine(lambda *_: 0.5)
    crashed.attach(engine)
    crashed.start(engine)  # and never ends: it stays RUNNING
    second = tracker(run_name="same", run_dir=tmp_path / "b")
    train(second)
    crashed.close("KILLED")
    assert {run.info.run_id: run.info.status for run in runs(store, second.experiment_name)} == {
        crashed.run_id: "KILLED",
        second.run_id: "FINISHED",
    }
    assert history(store, crashed.run_id, "train/loss") == []
    assert tracker().run_name != tracker().run_name


def test_resuming_goes_on_in_the_same_run(tracker, store, tmp_path):
    first = tracker(params={"epochs": 1, "depth": 4})
    train(first, epochs=1)

    class Restore:
        def attach(self, engine):
            @engine.on(Events.STARTED)
            def restore():
                engine.state.epoch, engine.state.iteration = 1, 3

    second = tracker(params={"epochs": 2, "depth": 4, "new": 1}, resume_run_id=earlier_run_id(tmp_path / "run"))
    train(second, Restore(), epochs=2)
    (run,) = runs(store, second.experiment_name)
    assert run.info.run_id == first.run_id == second.run_id
    assert run.info.status == "FINISHED"
    expected = [(i, i / 10) for i in range(1, 7)]
    assert history(store, first.run_id, "train/loss") == rows(tmp_path / "run", "train/loss") == expected
    assert (run.data.params["epochs"], run.data.tags["resumed.epochs"], run.data.params["new"]) == ("1", "2", "1")
    assert "resumed.depth" not in run.data.tags
    with pytest.raises(ValueError, match=r"resume_run_id 'abc' is no run in"):
        train(tracker(resume_run_id="abc"))
    assert earlier_run_id(tmp_path) is None


class TestStoreFails:
    def test_in_mid_training_there_is_one_warning_and_a_full_history(self, tracker, tmp_path, monkeypatch, caplog):
        monkeypatch.setattr(store_of.Writer, "interval", 0.01)
        monkeypatch.setattr(store_of.Writer, "retry_after", 0.0)
        one = tracker(artifacts=[tmp_path])
        engine = Engine(lambda engine, _: engine.state.iteration / 10)
        one.attach(engine)

        @engine.on(Events.STARTED)
        def unplug():
            def away(*_, **__):
                raise OSError("server is gone\nwith details")

            for name in ("log_batch", "log_artifact", "log_artifacts", "set_terminated"):
                monkeypatch.setattr(MlflowClient, name, away)

        engine.run(range(3), max_epochs=4)
        told = [r.message for r in caplog.records if r.levelno >= logging.WARNING and r.name == store_of.__name__]
        assert len(told) == 3, told
        assert told[0].startswith(f"tracking_uri {one.tracking_uri!r} fails: server is gone; training continues")
        assert "values did not reach" in told[1]
        assert "the end of the run, or files of it, did not reach" in told[2]
        assert rows(tmp_path / "run", "train/loss") == [(i, i / 10) for i in range(1, 13)]

    def test_for_a_while_nothing_is_lost(self, tracker, store, monkeypatch):
        monkeypatch.setattr(store_of.Writer, "interval", 0.01)
        monkeypatch.setattr(store_of.Writer, "retry_after", 0.0)
        monkeypatch.setattr(store_of, "_METRICS_A_BATCH", 4)
        real, refused = MlflowClient.log_batch, threading.Event()

        def away(*_, **__):
            refused.set()
            raise OSError("server is gone")

        def step(engine, _):
            if engine.state.iteration == 1:
                monkeypatch.setattr(MlflowClient, "log_batch", away)
            if engine.state.iteration == 5:
                assert refused.wait(30)
                monkeypatch.setattr(MlflowClient, "log_batch", real)
            return engine.state.iteration / 10

        one = tracker()
        train(one, step=step)
        assert history(store, one.run_id, "train/loss") == [(i, i / 10) for i in range(1, 7)]
        assert runs(store, one.experiment_name)[0].info.status == "FINISHED"

    def test_at_the_start_it_is_an_error_that_names_the_store(self, tracker, tmp_path):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
            stepped = []
            with pytest.raises(
                ConnectionError,
                match=f"tracking_uri '{uri}' cannot be used: .*Connection refused; start the server.*enabled=False",
            ):
                train(tracker(tracking_uri=uri), step=lambda *_: stepped.append(1))
        assert not stepped
        (tmp_path / "file").write_text("")
        with pytest.raises(ConnectionError, match=r"tracking_uri 'sqlite:.*file.* cannot be used"):
            train(tracker(tracking_uri=sqlite_uri(tmp_path / "file")))

    @pytest.mark.parametrize("uri", ["mlruns", "file:///mlruns", "ftp://host"])
    def test_another_kind_of_store_is_refused(self, tracker, uri):
        with pytest.raises(ValueError, match=r"tracking_uri must begin with sqlite:///, http://, https://, got"):
            tracker(tracking_uri=uri)


def test_a_step_does_not_wait_for_the_loss(tracker, tmp_path):
    threads = []

    class OnDevice:
        """Like a tensor on a GPU: its value can only be had by waiting."""

        def __float__(self):
            threads.append((threading.current_thread().name, engine.last_event_name))
            return 0.5

    engine = Engine(lambda *_: {"loss": OnDevice()})
    tracker(enabled=False).attach(engine)
    engine.run(range(3), max_epochs=2)
    assert len(threads) == 6
    # at the end of an epoch, when its metrics have waited anyway, the history is written before the checkpoint is
    assert set(threads) <= {("tracking", event) for event in Events} | {("MainThread", Events.EPOCH_COMPLETED)}
    assert rows(tmp_path / "run", "train/loss") == [(i, 0.5) for i in range(1, 7)]


def test_a_learning_rate_that_changes_in_place_is_recorded_as_it_was(tracker, tmp_path):
    rate = torch.tensor(0.0)

    class Optimizer:
        param_groups: ClassVar = [{"lr": rate}]

    engine = Engine(lambda *_: rate.fill_(engine.state.iteration))
    engine.optimizer = Optimizer()
    tracker(enabled=False).attach(engine)
    engine.run(range(3), max_epochs=2)
    assert rows(tmp_path / "run", "train/learning_rate") == [(i, i) for i in range(1, 7)]
    assert rows(tmp_path / "run", "train/loss") == [(i, i) for i in range(1, 7)]


def test_a_step_keeps_no_graph_alive(tracker, tmp_path):
    inputs, alive = [], []

    def step(engine, _):
        alive.extend(earlier() is not None for earlier in inputs[:-1])  # the last is still engine.state.output
        x = torch.ones(1, requires_grad=True)
        inputs.append(weakref.ref(x))
        return x.square().sum()

    train(tracker(enabled=False), step=step)
    assert len(alive) == 10
    assert not any(alive)
    assert rows(tmp_path / "run", "train/loss") == [(i, 1.0) for i in range(1, 7)]


def test_only_rank_0_records(tracker, store, tmp_path):
    engine = Engine(lambda *_: 0.5)
    engine.state.rank = 1
    one = tracker()
    one.attach(engine)
    engine.run(range(2), max_epochs=1)
    assert runs(store, one.experiment_name) == []
    assert not (tmp_path / "run").exists()


def test_metrics_of_any_shape_become_numbers(tracker, tmp_path):
    engine = Engine(lambda *_: 0.5)
    one = tracker(enabled=False)
    one.attach(engine)
    metrics = {"a": torch.tensor([0.5]), "b": [1, 2], "c": {"d": True}, "e": "text", "f": float("inf")}
    engine.add_event_handler(Events.EPOCH_STARTED, lambda: engine.state.metrics.update(metrics))
    engine.run(range(1), max_epochs=1)
    found = {name: rows(tmp_path / "run", f"train/{name}") for name in ("a", "b_0", "b_1", "c/d", "e", "f")}
    assert found == {
        "a": [(1, 0.5)], "b_0": [(1, 1)], "b_1": [(1, 2)], "c/d": [(1, 1)], "e": [], "f": [(1, float("inf"))]
    }  # fmt: skip


def test_an_evaluation_without_training_has_a_run_of_its_own(tracker, store):
    one = tracker()
    _, evaluator = monai_engines(lambda _: [], [TrackMetrics(one, "test")])
    evaluator.run()
    (run,) = runs(store, one.experiment_name)
    assert run.info.status == "FINISHED"
    assert history(store, one.run_id, "test/height") == [(1, 1)]


class TestMonaiHandlers:
    def test_they_are_taken_off_wherever_they_stand(self, tracker, store, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        one = tracker()
        foreign = {"tracking_uri": store, "experiment_name": one.experiment_name}
        before, after, validator = (MLFlowHandler(**foreign, output_transform=lambda x: x[0]["loss"]) for _ in range(3))
        after.artifacts = (str(tmp_path / "config.json"),)
        trainer, _ = monai_engines(
            lambda evaluator: [before, one, ValidationHandler(1, evaluator), after], [TrackMetrics(one), validator]
        )
        trainer.run()
        assert before.cur_run is after.cur_run is validator.cur_run is None
        (run,) = runs(store, one.experiment_name)
        assert sorted(run.data.metrics) == [
            "train/learning_rate",
            "train/loss",
            "train/seconds_data",
            "train/seconds_step",
            "val/best_epoch",
            "val/best_height",
            "val/height",
        ]
        assert "config.json" in {a.path for a in MlflowClient(store).list_artifacts(one.run_id)}

    def test_they_are_left_when_ours_is_off(self, tracker, store):
        one = tracker(enabled=False)
        theirs = MLFlowHandler(
            store, experiment_name=one.experiment_name, output_transform=lambda x: x, close_on_complete=True
        )
        train(one, theirs)
        (run,) = runs(store, one.experiment_name)
        assert list(run.data.metrics) == ["Loss"]

    def test_tracking_mlflow_on_the_command_line_does_not_log_twice(self, tmp_path):
        out = str(tmp_path / "runs")
        config = {
            "imports": ["$import bundle.tracking as tracking"],
            "bundle_root": str(tmp_path),
            "output_dir": "$@bundle_root + '/runs'",
            "tracking_uri": "$tracking.sqlite_uri(@output_dir)",
            "experiment_name": "ours",
            "run_name": "one",
            "tracker": {
                "_target_": "bundle.tracking.MLflowTracker",
                "run_dir": "$@output_dir + '/' + @run_name",
                "tracking_uri": "@tracking_uri",
                "experiment_name": "@experiment_name",
                "run_name": "@run_name",
            },
            "network": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1},
            "data": {"_target_": "tests.tracking.test_tracker.data", "n": 3},
            "validate": {
                "handlers": [{"_target_": "bundle.tracking.TrackMetrics", "tracker": "@tracker"}],
                "evaluator": {
                    "_target_": "SupervisedEvaluator",
                    "device": "cpu",
                    "val_data_loader": "@data",
                    "network": "@network",
                    "val_handlers": "@validate#handlers",
                },
            },
            "train": {
                "handlers": [
                    {"_target_": "bundle.tracking.TrackTraining", "tracker": "@tracker"},
                    {"_target_": "ValidationHandler", "interval": 1, "validator": "@validate#evaluator"},
                ],
                "trainer": {
                    "_target_": "SupervisedTrainer",
                    "device": "cpu",
                    "max_epochs": 2,
                    "train_data_loader": "@data",
                    "network": "@network",
                    "loss_function": {"_target_": "torch.nn.MSELoss"},
                    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.5},
                    "train_handlers": "@train#handlers",
                },
            },
            "run": ["$@train#trainer.run()"],
        }
        parser = ConfigParser(config=config)
        ConfigWorkflow.patch_bundle_tracking(parser, DEFAULT_MLFLOW_SETTINGS)
        assert [h.get("_target_") for h in parser["train"]["handlers"][1:]] == ["ValidationHandler", "MLFlowHandler"]
        assert parser["validate"]["handlers"][-1]["_target_"] == "MLFlowHandler"
        parser.get_parsed_content("run")

        assert [p.name for p in tmp_path.rglob("*.db")] == ["mlflow.db"]
        client = MlflowClient(sqlite_uri(out))
        assert sorted(e.name for e in client.search_experiments()) == ["Default", "ours"]
        (run,) = runs(sqlite_uri(out), "ours")
        assert (run.info.run_name, run.info.status) == ("one", "FINISHED")
        assert "train_loss" not in run.data.metrics
        assert len(history(sqlite_uri(out), run.info.run_id, "train/loss")) == 6
        artifacts = {a.path for a in client.list_artifacts(run.info.run_id)}
        (by_monai,) = (Path(path).name for path in (tmp_path / "runs").glob("config_*.json"))
        assert artifacts == {"config.json", "history.csv", by_monai}
        config = client.download_artifacts(run.info.run_id, "config.json", str(tmp_path))
        assert json.loads(Path(config).read_text())["train"]["trainer"]["max_epochs"] == 2


def test_a_resumed_run_keeps_the_description_that_somebody_wrote(tracker, store):
    first = tracker(data_fingerprint="f00d")
    train(first, epochs=1)
    MlflowClient(store).set_tag(first.run_id, "mlflow.note.content", "the one that failed")
    train(tracker(data_fingerprint="f00d", resume_run_id=first.run_id))
    (run,) = runs(store, first.experiment_name)
    assert run.data.tags["mlflow.note.content"] == "the one that failed"
    assert len(run.inputs.dataset_inputs) == 1
