"""Minutes become epochs: the pure rule, what is measured, and that a run of minutes is the run of its epochs."""

import itertools
import json
import os
import re
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from ignite.engine import Engine, Events

from bundle.model import checkpoints
from bundle.training import Progress, pace, run_length
from bundle.training.pace import MEASURED, WARM_UP, MeasurePace, Pace, clock_of
from bundle.training.run_length import epochs_within, seconds_of
from tests.conftest import said_by


def longest(seconds, pace, steps, val_interval):
    """Slow: the most epochs of which all, and their validations, fit."""
    fits = [
        n
        for n in range(1, 400)
        # in the order of the code, which decides where both sides are equal but for rounding
        if n * (steps * pace.step) + max(1, n // val_interval) * pace.validation <= seconds - pace.measuring
    ]
    return max(fits, default=0)


@example(1.9, 0.01, 0.0, 1, 1)  # 1.4 / 0.01 is 140, but 140 times 0.01 is more than 1.4
@given(st.floats(1, 300), st.floats(0.01, 1), st.floats(0, 20), st.integers(1, 100), st.integers(1, 12))
def test_as_many_epochs_as_fit_and_the_last_one_is_validated(seconds, step, validation, steps, val_interval):
    pace = Pace(step, validation, 0.5)
    most = longest(seconds, pace, steps, val_interval)
    if not most:
        with pytest.raises(ValueError, match="is less than one epoch takes here"):
            epochs_within(seconds, pace, steps, val_interval)
        return
    if most > 398:
        return
    epochs, interval = epochs_within(seconds, pace, steps, val_interval)
    assert seconds_of(epochs, pace, steps, interval) <= seconds + 1e-9
    if validation:
        validations = max(1, most // val_interval)
        assert epochs % interval == 0
        assert epochs // interval == validations
        assert most - validations < epochs <= most
    else:
        assert (epochs, interval) == (most, val_interval)


def test_a_budget_below_one_epoch_names_the_nearest_and_what_slows_it(monkeypatch):
    with pytest.raises(
        ValueError,
        match=r"--minutes 0\.5 is less .*\(50 steps of 1 s and a validation of 8 s, and 1 s to measure this\): 0\.99",
    ):
        epochs_within(30, Pace(1.0, 8.0, 1.0), 50, 1)
    assert epochs_within(60 * 0.99, Pace(1.0, 8.0, 1.0), 50, 1) == (1, 1)
    monkeypatch.setattr(run_length, "busy", lambda: "")
    with pytest.raises(ValueError, match=r"--samples_per_epoch 21$"):
        epochs_within(30, Pace(1.0, 8.0, 1.0), 50, 1)
    monkeypatch.setattr(run_length, "busy", lambda: "other programs compute here")
    with pytest.raises(ValueError, match=r"--samples_per_epoch 21; other programs compute here$"):
        epochs_within(30, Pace(1.0, 8.0, 1.0), 50, 1)


def test_cpu_time_counts_where_one_thread_does_it_all(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    cpu = torch.device("cpu")
    assert clock_of(cpu).__name__ == "process_time"
    assert clock_of(cpu, workers=2).__name__ == clock_of(torch.device("cuda")).__name__ == "perf_counter"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert clock_of(cpu).__name__ == "perf_counter"


def test_measuring_times_twenty_steps_and_leaves_no_trace(monkeypatch):
    network, batches = torch.nn.Conv2d(1, 1, 1), []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    ticks = itertools.count()
    monkeypatch.setattr(pace, "clock_of", lambda *of: lambda: float(len(batches)) + 0.0 * next(ticks))

    class Loader:
        def __iter__(self):
            for _ in range(4):
                batches.append(0)
                yield {"image": torch.rand(1, 1, 2, 2), "label": torch.rand(1, 1, 2, 2)}

    before, state = {name: w.clone() for name, w in network.state_dict().items()}, torch.get_rng_state()
    measure = MeasurePace(
        network, optimizer, torch.nn.MSELoss(), lambda image, net: net(image), Loader(), validation=None
    )
    found = measure()
    assert found == Pace(1.0, 0.0, WARM_UP + MEASURED)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())
    assert optimizer.state_dict()["state"] == {}
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_slow_steps_are_measured_by_few(monkeypatch):
    made = []
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: 12.0 * len(made)))
    monkeypatch.setattr(pace, "clock_of", lambda *of: lambda: 12.0 * len(made))
    network = torch.nn.Conv2d(1, 1, 1)
    batch = {"image": torch.rand(1, 1, 2, 2), "label": torch.rand(1, 1, 2, 2)}

    def infer(image, net):
        made.append(0)
        return net(image)

    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    found = MeasurePace(network, optimizer, torch.nn.MSELoss(), infer, [batch] * 9)()
    assert found == Pace(12.0, 0.0, 12.0 * len(made))
    assert len(made) == 2 + 3  # 24 s of warming up; then the least that are timed


@pytest.fixture
def seconds(monkeypatch):
    """A clock on which each look takes as long as the list says."""
    per_look = [0.125]
    now = itertools.accumulate(itertools.repeat(0.0), lambda total, _: total + per_look[0], initial=0.0)
    monkeypatch.setattr(pace, "clock_of", lambda *of: lambda: next(now))
    return per_look


class Killed(BaseException):
    """Stands for whatever ends a process in the middle of an epoch."""


def files(folder):
    """Both checkpoints without what is text, and what the length was."""
    found = [checkpoints.read(folder / name) for name in ("last.pt", "best.pt")]
    length = found[0].pop("length", None)
    for text in ("must_match", "settings"):
        found[0].pop(text)
    return found, length


def test_minutes_are_the_run_of_their_epochs_interrupted_or_not(workflow, tmp_path, seconds, capsys, caplog):
    # a step: 0.125 s / 20; a validation: 0.125 s for its one image; measured in 5 looks at the clock: 0.625 s
    options = {"minutes": 1.1 / 60, "val_interval": 1}
    workflow(run_name="epochs", max_epochs=3, val_interval=1).run()
    workflow(run_name="minutes", **options).run()
    assert "3 epochs of 4 steps (0.00625 s each) and 3 validations (0.125 s each)" in capsys.readouterr().out

    def die(engine):
        raise Killed

    broken = workflow(run_name="broken", **options)
    broken.parser.get_parsed_content("train#trainer").add_event_handler(Events.ITERATION_COMPLETED(once=6), die)
    with pytest.raises(Killed):
        broken.run()
    seconds[0] = 60.0  # the machine is busy now: measured again, not even one epoch would fit
    resumed = workflow(run_name="broken", resume=True, **options)
    resumed.run()

    whole, length = files(tmp_path / "runs" / "minutes")
    again, same = files(tmp_path / "runs" / "broken")
    plain, nothing = files(tmp_path / "runs" / "epochs")
    assert nothing is None
    assert length == same
    assert length["minutes"] == options["minutes"]
    for other in (whole, again):
        torch.testing.assert_close(other, plain, rtol=0, atol=0)
    assert whole[0]["epoch"] == 3

    with caplog.at_level("INFO"):
        workflow(run_name="broken", resume=True, **options).run()
    assert "is complete after 3 epochs; to continue, give more minutes, such as --minutes 0.0366667" in caplog.text
    assert "minutes not given instead of 0.0183333" in said_by(
        workflow(run_name="broken", resume=True, max_epochs=3, val_interval=1).run
    )


@pytest.mark.parametrize(
    ("overlays", "words", "told"),
    [
        ([], ["--max_epochs", "3"], "--minutes and --max_epochs both say how long to train"),
        (
            ["networks/dcn.json"],
            [],
            "--minutes cannot be used with auxiliary_loss.half_life, which counts by max_epochs",
        ),
    ],
)
def test_minutes_beside_epochs_are_refused(workflow, monkeypatch, overlays, words, told):
    monkeypatch.setattr("sys.argv", ["monai.bundle", "run", "training", *words])
    assert told in said_by(workflow(*overlays, minutes=5).run)


@pytest.mark.parametrize(("predict", "times"), [(True, 1), (False, 0)])
def test_a_training_says_after_its_first_steps_how_long_it_takes(predict, times, capsys):
    trainer = Engine(lambda engine, batch: None)
    Progress(predict=predict).attach(trainer)
    trainer.run(range(15), max_epochs=3)
    assert len(re.findall(r"^45 steps of \S+ s take about 0\.0 min$", capsys.readouterr().out, re.MULTILINE)) == times


@pytest.mark.parametrize(("threads", "load", "told"), [(2, 9.5, 1), (2, 0.5, 0), (1, 9.5, 0)])
def test_a_training_says_when_its_threads_wait_for_other_programs(threads, load, told, monkeypatch, capsys):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(pace, "cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    trainer = Engine(lambda engine, batch: None)
    Progress(predict=False).attach(trainer)
    trainer.run(range(15), max_epochs=3)
    assert capsys.readouterr().out.count("(9.5 at a time, on 4 cores)") == told


@pytest.mark.parametrize(("best", "told"), [(2, "the network of epoch 2 of 3 is kept: the best by loss"), (-1, "")])
def test_a_training_says_at_its_end_which_network_it_kept(best, told, capsys):
    trainer, evaluator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
    evaluator.state = SimpleNamespace(metrics={}, best_metric_epoch=best, best_metric=0.25, key_metric_name="loss")
    Progress(evaluator, predict=False).attach(trainer)
    trainer.run(range(2), max_epochs=3)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(told or "epoch 3/3")


def test_a_training_of_fewer_epochs_than_between_validations_says_that_none_was_made(capsys):
    trainer, evaluator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
    evaluator.state, evaluator.data_loader = (
        SimpleNamespace(metrics={}, best_metric_epoch=-1, key_metric_name="loss"),
        [1],
    )
    Progress(evaluator, predict=False).attach(trainer)
    trainer.run(range(2), max_epochs=3)
    assert "the last network is kept: no epoch was validated" in capsys.readouterr().out.splitlines()[-1]


def test_the_config_hands_the_length_on():
    from tests.conftest import ROOT

    config = json.loads((ROOT / "configs" / "train.json").read_text())
    assert config["train"]["trainer"]["max_epochs"] == "$@length.epochs"
    assert config["minutes"] is None
