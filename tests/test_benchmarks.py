"""The benchmarks at tiny sizes: what they print, what they refuse, and the arithmetic of their ratios."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import elastic, inference, tile_choice, timing, training_sample, weight_map
from benchmarks.samples import cells
from benchmarks.timing import CheckError, Options, Table, interleave
from bundle.geometry import ValidGeometry
from bundle.inferers import OverlapTileInferer

ONCE = Options(repeats=1, base_channels=2)


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """main() sets the threads of the whole process."""
    before = torch.get_num_threads()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    yield
    torch.set_num_threads(before)


def first_column(table: Table) -> list[str]:
    return [row[0] for row in table.rows]


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


@pytest.mark.parametrize(("contenders", "repeats", "name"), [({"a": int}, 0, "repeats"), ({}, 1, "contenders")])
def test_interleave_refuses(contenders, repeats, name):
    with pytest.raises(ValueError, match=name):
        interleave(contenders, repeats)


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


def test_weight_map_has_a_table_for_each_number_of_cells():
    tables = list(weight_map.run(ONCE, size=64, counts=(4, 9)))
    assert [table.title for table in tables] == [f"weight map, 64 x 64 px, {n} cells" for n in (4, 9)]
    for table in tables:
        assert first_column(table) == [
            "WeightMap",
            "one EDT a cell, stack, sort",
            "one EDT a cell, two smallest kept",
            "one EDT a cell, cropped at 25 px",
            "a single EDT, no weights",
        ]
        assert table.rows[0][-1] == "1.00"


def test_weight_map_does_not_time_a_peer_that_is_wrong(monkeypatch):
    monkeypatch.setattr(weight_map, "two_smallest", lambda instances: (np.ones(instances.shape),) * 2)
    with pytest.raises(CheckError, match="two smallest kept: weights differ"):
        next(weight_map.run(ONCE, size=64, counts=(4,)))


def test_elastic_compares_with_monai():
    (table,) = elastic.run(ONCE, size=188, count=9)
    ours, theirs = "RandElasticGridd", "Rand2DElasticd of MONAI"
    assert first_column(table) == [ours, theirs, f"{ours}, rotation", f"{theirs}, rotation"]


def test_inference_counts_the_same_operations_at_both_precisions():
    tables = list(inference.run(ONCE, size=96, paper_tile=252, window=64))
    assert [table.title.split(", ")[-1] for table in tables] == ["fp32", "bf16"]
    for table in tables:
        assert first_column(table) == [
            "OverlapTileInferer, chosen tile (284 px)",
            "OverlapTileInferer, tiles of 252 px",
            "BasicUNet, whole image",
            "BasicUNet, SlidingWindowInferer 64 px",
        ]
    fp32, bf16 = ([row[1] for row in table.rows] for table in tables)
    assert fp32 == bf16


def test_inference_does_not_time_tiles_that_differ_from_one_pass(monkeypatch):
    # tiles that step by their whole output, as those of the 2015 release, leave the pooling grid
    monkeypatch.setattr(ValidGeometry, "tile_step", lambda self, tile: self.output_size(tile))
    with pytest.raises(CheckError, match="differ from one fp32 pass"):
        next(inference.run(ONCE, size=160, paper_tile=252, window=64))


def test_tile_choice_finds_nothing_cheaper():
    tables = list(tile_choice.run(ONCE, images=(64, 700)))
    assert len(tables) == len(tile_choice.BOUNDS)
    for table in tables:
        assert first_column(table) == ["64 x 64 px", "700 x 700 px"]
        assert [row[4] for row in table.rows] == ["0.0 %", "0.0 %"]


def test_tile_choice_shows_a_choice_that_is_not_the_best(monkeypatch):
    monkeypatch.setattr(OverlapTileInferer, "choose_tile", lambda *_: (572, 572))
    table = next(tile_choice.run(ONCE, images=(512,)))
    assert table.rows[0][1:3] == ["572 x 572", "2 x 2"]
    assert float(table.rows[0][4].rstrip(" %")) > 100


def test_training_sample_lists_the_steps_of_both_chains():
    whole, ours, stock = training_sample.run(ONCE, size=284, count=9)
    assert first_column(whole) == ["the chain of configs/train.json", "stock transforms"]
    names = ["RandElasticGridd", "RandGrayCurved", "SeparateTouchingd", "WeightMapd", "InstancesToClassd"]
    assert first_column(ours) == [f"{i} {name}" for i, name in enumerate([*names, "CropToOutputd"], 1)]
    assert first_column(stock)[0] == "1 Rand2DElasticd"


def test_command_prints_the_machine_and_the_tables(monkeypatch, capsys):
    monkeypatch.setattr(tile_choice.run, "__defaults__", ((64,),))
    assert command.main(["tile_choice", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| 64 x 64 px |") == 2
    for fact in ("threads 1 of", torch.__version__, "bf16"):
        assert fact in printed.splitlines()[0]


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
    ],
)
def test_command_refuses(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(argv)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)
