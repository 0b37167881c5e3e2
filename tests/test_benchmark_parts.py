"""Each benchmark at a tiny size: what it compares, what it refuses to time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import (
    bounded,
    ceiling,
    cluster,
    cluster_model,
    efficiency,
    elastic,
    inference,
    many_images,
    memory,
    sample_stream,
    tile_choice,
    training_sample,
    weight_map,
)
from benchmarks.timing import CheckError, Options, Table
from bundle.geometry import ValidGeometry
from bundle.inference.backends import BACKENDS
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.large.executor import Serial

ONCE = Options(repeats=1, base_channels=2)


def first_column(table: Table) -> list[str]:
    return [row[0] for row in table.rows]


def test_weight_map_has_a_table_for_each_number_of_cells(monkeypatch):
    monkeypatch.setattr(weight_map, "peak_memory", lambda module, count, **rest: memory.MIB * (8 + count))
    *tables, large, peaks = weight_map.run(ONCE, size=64, counts=(4, 9), large=(96, 5))
    assert [table.title for table in tables] == [f"weight map, 64 x 64 px, {n} cells" for n in (4, 9)]
    assert large.title == "weight map, 96 x 96 px, 5 cells"
    assert [target.bound for target in large.targets] == [1.2]
    assert [row[:3] for row in peaks.rows] == [
        ["WeightMap", "4", "12.0"],
        ["WeightMap", "9", "17.0"],
        [weight_map.STACK, "4", "12.0"],
    ]
    assert peaks.targets[0].measured == 17 / 12
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


def test_weight_map_holds_itself_against_the_recipe_and_a_single_transform():
    table = next(weight_map.run(ONCE, size=256, counts=(200,)))
    assert [(target.peer, target.bound) for target in table.targets] == [(weight_map.STACK, 190), ("a single EDT", 2)]
    assert table.targets[0].measured == pytest.approx(float(table.rows[1][-1]), rel=0.01)


def test_elastic_compares_three_arrays_with_monai_and_elasticdeform():
    (table,) = elastic.run(ONCE, size=188, count=9)
    *known, last = first_column(table)
    assert known == [elastic.OURS, elastic.MONAI]
    assert last.startswith(elastic.ELASTICDEFORM)
    assert table.targets[0].bound == 16


def test_elastic_goes_without_elasticdeform(monkeypatch):
    monkeypatch.setitem(sys.modules, "elasticdeform", None)
    (table,) = elastic.run(ONCE, size=188, count=9)
    assert table.rows[-1] == [f"{elastic.ELASTICDEFORM}: not available here", "", "", ""]
    assert len(table.targets) == 1


def test_elastic_refuses_a_field_that_is_not_that_of_splines(monkeypatch):
    monkeypatch.setattr(elastic.reference, "cubic_field", lambda vectors, size: np.zeros((2, *size)))
    with pytest.raises(CheckError, match="not that of cubic splines"):
        next(elastic.run(ONCE, size=188, count=9))


@pytest.mark.nightly
def test_inference_counts_the_same_operations_at_both_precisions():
    tables = list(inference.run(Options(repeats=1, base_channels=2, full=True), size=96, paper_tile=252, window=64))
    assert [table.title.split(", ")[-2] for table in tables] == ["bf16", "fp32"]
    for table in tables:
        assert [name for name in first_column(table) if not name.startswith("the same")] == [
            "OverlapTileInferer, chosen tile (284 px)",
            "OverlapTileInferer, tiles of 252 px",
            "BasicUNet, whole image",
            "BasicUNet, SlidingWindowInferer 64 px",
            "BasicUNet, batch norm, channels_last, whole image",
            "BasicUNet, batch norm, channels_last, SlidingWindowInferer 64 px",
        ]
    bf16, fp32 = tables
    others = {name.removeprefix("the same, ") for name in first_column(fp32) if name.startswith("the same")}
    assert others == {name for name in BACKENDS if name != "eager" and not BACKENDS[name].missing()}
    counted = [{row[0]: row[1] for row in table.rows if "onnx" not in row[0]} for table in tables]
    assert counted[0] == counted[1]
    assert {target.bound for target in bf16.targets} == {4, 2.3}
    assert not fp32.targets


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
    whole, ours, stock = training_sample.run(ONCE, size=284, count=9, width=2)
    assert first_column(whole) == [training_sample.OURS, training_sample.STOCK, "a training step, width 2, bf16"]
    assert [target.bound for target in whole.targets] == [15, 0.15]
    names = ["RandElasticGridd", "RetainStatsd", "SeparateTouchingd", "WeightMapd", "InstancesToClassd"]
    assert first_column(ours) == [f"{i} {name}" for i, name in enumerate([*names, "CropToOutputd"], 1)]
    assert first_column(stock)[0] == "1 Rand2DElasticd"


def test_a_trainer_of_fixed_pace_waits_for_slow_samples_and_not_for_fast_ones(monkeypatch):
    monkeypatch.setattr(sample_stream, "WORKERS", (1,))
    for pace, waits in ((0.0001, True), (0.2, False)):
        monkeypatch.setattr(sample_stream, "PACE", pace)
        (table,) = sample_stream.run(ONCE, size=252, count=9, steps=6, validation=0.2, epochs=2)
        (own, many) = table.rows
        assert (float(own[2].split()[0]) > 30) is waits
        assert float(many[1]) == pytest.approx(8 * float(own[1]), rel=0.1)


@pytest.fixture
def small_ceiling(monkeypatch):
    monkeypatch.setitem(ceiling.SHAPES, "cpu", ((1, 12), (2, 16)))


def test_efficiency_counts_what_a_tile_costs(small_ceiling, monkeypatch):
    monkeypatch.setattr(efficiency, "BACKENDS", {"eager": efficiency.BACKENDS["eager"]})
    found = list(efficiency.run(Options(repeats=1, base_channels=2, full=True), tiles=(188, 204)))
    tables, levels = [*found[:2], *found[3:5]], (found[2], found[5])
    assert [table.title.split(", ")[1:4:2] for table in tables] == [
        [f"tile of {size} px", precision] for precision in ("fp32", "bf16") for size in (188, 204)
    ]
    for table in tables:
        assert first_column(table)[1:] == ["eager"]
        assert table.rows[0][2] == "100.0 %"
    assert [[target.bound for target in table.targets] for table in tables] == [[0.85], [], [0.92], []]
    for table in levels:
        assert first_column(table)[1:] == [f"{channels} channels" for channels in (2, 4, 8, 16, 32)]
        for column in (1, 2):
            assert sum(float(row[column].split()[0]) for row in table.rows[1:]) == pytest.approx(100, abs=3)


def test_bounded_counts_tiles_and_measures_all_cases_but_the_last(monkeypatch):
    monkeypatch.setattr(bounded, "peak_memory", lambda module, width, **rest: width * memory.MIB)
    (table,) = bounded.run(ONCE, size=600, cases=((2, "60 MiB"), (16, "60 MiB")))
    first, second = table.rows
    assert first[1:3] == ["796 x 796", "1 x 1"]
    assert first[4:] == ["0.0 %", "60", "2"]
    assert second[2] != "1 x 1"
    assert second[-1] == "--full"
    assert [target.bound for target in table.targets] == [1.08, 1.0, 1.08]
    assert table.targets[1].measured == 2 / 60
    full = replace(ONCE, full=True)
    tables = list(bounded.run(full, size=600, cases=((2, "60 MiB"),)))
    assert [table.title.rpartition(", ")[2] for table in tables] == ["bf16", "int8"]
    assert [row[-1] for table in tables for row in table.rows] == ["2", "2"]


def test_many_images_compares_the_command_with_its_network(monkeypatch):
    (table,) = many_images.run(ONCE, count=2, size=60)
    assert first_column(table) == [many_images.NETWORK, many_images.THREADS, many_images.ONE_BY_ONE]
    assert [target.bound for target in table.targets] == [1.1]
    monkeypatch.setattr(many_images, "_IN_TURN", {"cells#threshold": 0.01})
    with pytest.raises(CheckError, match="the tables of cells differ"):
        next(many_images.run(ONCE, count=2, size=60))


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (weight_map, {"which": weight_map.OURS, "size": 40, "count": 3}),
        (weight_map, {"which": weight_map.STACK, "size": 40, "count": 3}),
        (bounded, {"size": 40, "width": 2, "bound": "1 GiB", "seed": 0}),
    ],
)
def test_what_is_measured_in_its_own_process_covers_the_image(module, arguments):
    assert module.prepared(**arguments)().shape[-2:] == (40, 40)


def test_cluster_compares_the_same_blocks(monkeypatch):
    monkeypatch.setattr(cluster, "Cluster", lambda *_: Serial(1))
    monkeypatch.setattr(cluster, "ProcessPoolExecutor", lambda workers, _, **started: ThreadPoolExecutor(1, **started))
    monkeypatch.setattr(cluster, "_passes", lambda folder, width: [["tile", str(width)]])
    side_by_side, empty, passes = cluster.run(ONCE, side=600, width=2, empty=20)
    assert side_by_side.title.startswith("1 blocks of 768 x 768 px")
    assert first_column(side_by_side) == ["two bare processes", "two workers"]
    assert [target.bound for target in side_by_side.targets] == [0.95]
    assert [row[:2] for row in empty.rows] == [["in this process", "1,000,000"], ["two workers", "1,000,000"]]
    assert passes.rows == [["tile", "2"]]


def test_a_modelled_cluster_is_as_fast_as_its_slowest_part():
    job = cluster_model.Job("", blocks=600, seconds=10, reads=50, writes=30, weights=200, before=0, after=0)

    def seconds(workers, schedule=0.0, store=1e12, link=1e12):
        return cluster_model.probability(job, cluster_model.Costs(schedule, store, link), workers)

    assert seconds(1)[0] == pytest.approx(600 * 10)
    assert seconds(7)[0] == pytest.approx(-(-600 // 7) * 10)
    one = replace(job, blocks=1)
    assert cluster_model.probability(one, cluster_model.Costs(0, 1e12, 10), 2)[0] == pytest.approx(20 + 5 + 10 + 3)
    ended, scheduler, store = seconds(600, schedule=1)
    assert ended == pytest.approx(600 + 10)
    assert scheduler == pytest.approx(600 / ended)
    assert store == pytest.approx(0, abs=1e-6)
    ended, _, store = seconds(60, store=10)
    assert ended == pytest.approx(600 * 8, rel=0.02)
    assert store == pytest.approx(1, rel=0.02)
