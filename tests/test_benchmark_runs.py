"""The benchmarks of whole training runs at a tiny size: steps, tracking, the start, profiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import (
    ceiling,
    startup,
    startup_inference,
    tracking,
    training_step,
)
from benchmarks.steps import ConfiguredTrainer
from benchmarks.timing import CheckError, Options, Table
from tests.conftest import ROOT, table

ONCE = Options(repeats=1, base_channels=2)


def first_column(table: Table) -> list[str]:
    return [row[0] for row in table.rows]


@pytest.fixture
def small_ceiling(monkeypatch):
    monkeypatch.setitem(ceiling.SHAPES, "cpu", ((1, 12), (2, 16)))


def test_training_step_compares_the_engine_with_bare_loops(small_ceiling):
    (table,) = training_step.run(ONCE, widths=(2,), tile_size=204)
    ours, bare, plain, limit = first_column(table)
    assert (ours, plain) == (training_step.OURS, training_step.PLAIN)
    assert bare.startswith("bare loop, ")
    assert limit.startswith("3x3 convolution")
    assert [(target.peer, target.bound) for target in table.targets] == [(plain, 1.9), (bare, 0.02)]


@pytest.mark.parametrize(("bare", "plain", "said"), [(0.71, 0.7, "bare loop 0.71"), (0.7, 0.9, "in fp32 0.9")])
def test_training_step_is_not_timed_when_losses_differ(bare, plain, said):
    losses = {"ours": 0.7, "bare": bare, "plain": plain}
    with pytest.raises(CheckError, match=said):
        training_step._check({name: lambda x=loss: torch.tensor(x) for name, loss in losses.items()}, 0, 1e-5)


def test_a_configured_trainer_takes_one_step_a_call_and_learns(tmp_path):
    trainer = ConfiguredTrainer(tmp_path, ONCE, base_channels=2, tile_size=204, precision="fp32")
    before = [p.detach().clone() for p in trainer.network.parameters()]
    for step in (1, 2, 3):
        assert np.isfinite(trainer().item())
        assert trainer.trainer.state.iteration == step
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    trainer.close()
    (history,) = tmp_path.glob("runs/*/history.csv")
    assert sum(row["name"] == "train/loss" for row in table(history)) == 3
    assert (tmp_path / "runs" / "mlflow.db").is_file()


def test_tracking_takes_blocks_of_steps_in_turns_and_pauses_before_each(monkeypatch):
    log: list[str] = []

    class Trainer:
        def __init__(self, folder, options, tracked, **settings):
            self.letter = "t" if tracked else "u"

        def __call__(self):
            log.append(self.letter)

        def close(self):
            log.append(f"/{self.letter}")

    monkeypatch.setattr(tracking, "ConfiguredTrainer", Trainer)
    monkeypatch.setattr(tracking.time, "sleep", lambda seconds: log.append(f"({seconds})"))
    (table,) = tracking.run(Options(repeats=2), steps=3, pause=5)
    assert first_column(table) == [tracking.OFF, tracking.ON]
    assert table.targets[0].bound == 0.01
    assert "".join(log) == "ut" + "uuuttt" + "(5)uuu(5)ttt" + "(5)ttt(5)uuu" + "/u/t"


STDERR = """import time: self [us] | cumulative | imported package
import time:       100 |        100 |   zipimport
import time:   1000000 |    1500000 | monai
benchmark mark: 2.5 imports
import time:    500000 |     500000 |   mlflow.store
benchmark mark: 0.25 of these: data
a line of a log
benchmark mark: 4.0 config
import time:    250000 |     250000 | mlflow
benchmark mark: 4.5 start
"""


def test_startup_tells_imports_apart_by_part_and_package():
    parts, packages = startup.parts_and_packages(STDERR)
    assert parts == {
        "imports": (2.5, pytest.approx(1.0001), 2),
        "of these: data": (0.25, 0.0, 0),
        "config": (1.5, 0.5, 1),
        "start": (0.5, 0.25, 1),
    }
    assert packages["mlflow"] == (0.75, 2)
    assert packages["monai"] == (1.0, 1)


def test_startup_has_medians_over_its_starts(monkeypatch):
    starts = iter([STDERR, *(STDERR.replace("4.0 config", f"{n} config") for n in (3.5, 5.0, 4.25))])
    monkeypatch.setattr(startup, "_start", lambda *_: next(starts))
    parts, packages = startup.run(Options(repeats=3), top=1)
    assert parts.rows[2] == ["config", "1.75", "0.50", "1"]
    assert packages.rows == [["monai", "1.00", "1"]]


def test_start_of_inference_is_what_it_takes_above_the_import_in_the_same_round(monkeypatch):
    seconds = iter([9.0, 99.0, 4.0, 5.0, 8.0, 8.5, 4.0, 4.5])  # the first round is not counted
    monkeypatch.setattr(startup_inference, "_seconds", lambda _: next(seconds))
    (table,) = startup_inference.run(Options(repeats=3))
    assert [row[1] for row in table.rows] == ["4.00", "5.00", "0.50"]
    assert table.targets[0].measured == pytest.approx(0.125)
    assert table.targets[0].met


@pytest.mark.nightly
def test_startup_marks_every_part_of_a_real_start(tmp_path, cells):
    (tmp_path / "data").symlink_to(cells)
    parts, packages = startup.parts_and_packages(startup._start(tmp_path, base_channels=2, depth=2, tile_size=60))
    first, data, made, *handlers = parts
    assert first.startswith("python, torch, MONAI")
    assert data.startswith("of these")
    assert [name.split()[0] for name in (made, *handlers)] == ["config", "handlers", "first", "to"]
    assert parts[first][0] > 1
    assert parts[data][0] < parts[made][0]
    assert packages["torch"][1] > 100


def test_startup_fails_with_the_message_of_the_run(monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1, "", "import time: 1 | 1 | x\nerror: tile_size 61 px is not valid\n")
    monkeypatch.setattr(startup.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(CheckError, match="training does not start: error: tile_size 61"):
        startup._start(tmp_path)


@pytest.mark.nightly
def test_profile_writes_two_reports(tmp_path):
    small = ["--training-width", "2", "--inference-width", "2", "--tile", "204", "--size", "40"]
    command = [sys.executable, "-m", "benchmarks.profile", *small, "--output", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    training, segmenting = ((tmp_path / name).read_text() for name in ("training_step.txt", "inference.txt"))
    assert "aten::convolution_backward" in training
    assert "aten::mkldnn_convolution" in segmenting
    for report in (training, segmenting):
        assert torch.__version__ in report
        assert "100.0%" in report.splitlines()[-1]
        assert str(Path.cwd()) not in report
