"""How the benchmarks measure, check and print: timing, targets, memory and the command line."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import ceiling, elastic, memory, tile_choice, timing
from benchmarks.samples import cells
from benchmarks.targets import at_least, at_most
from benchmarks.timing import CheckError, Options, Table, interleave

ONCE = Options(repeats=1, base_channels=2)


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """main() sets the threads of the whole process."""
    before = torch.get_num_threads()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    yield
    torch.set_num_threads(before)


def test_every_round_times_every_contender_once_after_one_warm_up():
    calls: list[str] = []
    interleave({name: lambda n=name: calls.append(n) for name in "abc"}, repeats=3)
    assert calls == list("abc" + "abc" + "bca" + "cab")


def test_ratio_is_the_median_of_the_ratios_within_rounds(monkeypatch):
    clock = 0.0
    # warm-up, then three rounds, the second of which a neighbour slowed down by ten
    seconds = {"a": iter([99, 1, 10, 1]), "b": iter([99, 2, 20, 3])}

    def spend(name: str) -> None:
        nonlocal clock
        clock += next(seconds[name])

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    timings = interleave({name: lambda n=name: spend(n) for name in seconds}, repeats=3)
    assert (timings["a"].median, timings["a"].ratio) == (1, 1)
    assert (timings["b"].median, timings["b"].ratio) == (3, 2)
    assert timings["b"].low == 2.5
    assert timings["b"].high == 11.5


def test_table_is_aligned_markdown():
    table = Table("title", ("", "ms"), [["short", "1.00"], ["much longer", "123"]])
    assert str(table).splitlines() == [
        "title",
        "",
        "|             |   ms |",
        "|-------------|-----:|",
        "| short       | 1.00 |",
        "| much longer |  123 |",
    ]


@pytest.mark.parametrize("count", [1, 7, 50])
def test_sample_holds_as_many_cells_as_asked_for(count):
    instances = cells(96, count)
    assert np.array_equal(np.unique(instances), np.arange(count + 1))


def test_without_warm_up_every_call_is_timed_and_follows_what_goes_between():
    calls: list[str] = []
    contenders = {name: lambda n=name: calls.append(n) for name in "ab"}
    interleave(contenders, repeats=2, warm_up=False, between=lambda: calls.append("-"))
    assert "".join(calls) == "-a-b-b-a"


@pytest.mark.parametrize(
    ("target", "cells"),
    [
        (at_least("ours", "theirs", 3.0, 2), ["3x", ">= 2x", "yes"]),
        (at_least("ours", "theirs", 1.999, 2), ["2x", ">= 2x", "no"]),
        (at_most("ours", "theirs", 1.2, 1.2), ["1.2x", "<= 1.2x", "yes"]),
        (at_most("ours", "theirs", 0.0214, 0.02, percent=True), ["2.1 %", "<= 2 %", "no"]),
        (at_least("ours", "theirs", 328.4, 190), ["328x", ">= 190x", "yes"]),
    ],
)
def test_a_target_says_what_was_measured_and_whether_that_is_enough(target, cells):
    assert target.cells == ["ours", "theirs", *cells]


@pytest.fixture
def small_ceiling(monkeypatch):
    monkeypatch.setitem(ceiling.SHAPES, "cpu", ((1, 12), (2, 16)))


def test_ceiling_is_the_fastest_of_its_shapes(small_ceiling):
    found = ceiling.find_ceiling("fp32", ONCE, channels=4)
    side = {"1 x 12": 12, "2 x 16": 16}[re.search(r"\d x \d+", found.name).group()]
    images = 1 if side == 12 else 2
    assert found.flops == 2 * 9 * 4 * 4 * images * (side - 2) ** 2
    assert found.share(found.flops, 1.0) == 1
    assert found.share(3 * found.flops, 6.0) == 0.5


def test_peak_memory_sees_what_was_freed_again(monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    source = (command.Path(memory.__file__)).read_text()
    (tmp_path / "benchmarks" / "memory.py").write_text(source)
    (tmp_path / "benchmarks" / "hungry.py").write_text("def prepared(size):\n    return lambda: bytearray(size)\n")
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    peak = memory.peak_memory("hungry", size=100 * memory.MIB)
    assert peak is None or 99 < peak / memory.MIB < 110


def test_command_prints_the_machine_and_the_tables(monkeypatch, capsys):
    monkeypatch.setattr(tile_choice.run, "__defaults__", ((64,),))
    assert command.main(["tile_choice", "--threads", "1", "--seed", "7"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| 64 x 64 px |") == 2
    for fact in ("threads 1 of", torch.__version__, "bf16", "seed 7"):
        assert fact in printed.splitlines()[0]


def test_command_gathers_the_targets_of_all_tables(monkeypatch, capsys):
    def run(options):
        assert options == Options(repeats=2, full=False, base_channels=3, seed=5)
        for bound in (2, 4):
            yield Table("t", ("", "ms"), [["x", "1"]], [at_least("this", "that", 3.0, bound)])

    monkeypatch.setattr(elastic, "run", run)
    assert command.main(["elastic", "--repeats", "2", "--base", "3", "--seed", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    summary = lines[lines.index("targets") :]
    assert [line.split("|")[3:6] for line in summary[-2:]] == [
        ["       3x ", "  >= 2x ", " yes "],
        ["       3x ", "  >= 4x ", "  no "],
    ]


def test_command_fails_when_a_contender_is_wrong(monkeypatch, capsys):
    def run(options):
        raise CheckError("somebody: wrong")
        yield

    monkeypatch.setattr(elastic, "run", run)
    assert command.main(["elastic"]) == 1
    assert "error: elastic: somebody: wrong" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["weightmap"], ["'weightmap'", *command.NAMES]),
        (["elastic", "--repeats", "0"], ["--repeats", "at least 1", "0"]),
        (["elastic", "--seed", "-1"], ["--seed", "-1"]),
        (["elastic", "--device", "cuda"], ["'elastic' does not run on cuda", *command.ON_CUDA]),
    ],
)
def test_command_refuses(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(argv)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)
