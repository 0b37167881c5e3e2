"""Rows, their order, their means, and what is marked as best."""

from __future__ import annotations

from statistics import mean, stdev

import pytest

from bundle.studies.comparison.mlflow_runs import Run
from bundle.studies.comparison.run_settings import settings
from bundle.studies.comparison.run_table import Table, make_table, newest

DATA, CODE = "provenance.data_fingerprint", "provenance.git_commit"


def run(name: str, status: str = "FINISHED", parent: str | None = None, start: float = 0.0, **params: str) -> Run:
    tags = {} if parent is None else {"mlflow.parentRunId": parent}
    return Run(name, name, status, start, start + 1, {DATA: "f00d", CODE: "c0de", **params}, tags, {})


def table(runs: list[Run], values: dict[str, float], metric: str = "loss") -> Table:
    measured = {name: {metric: value} for name, value in values.items()}
    return make_table(runs, measured, {run.run_id: settings(run) for run in runs}, metric)


def test_runs_that_differ_in_their_seed_only_are_one_row():
    runs = [run(f"narrow-s{i}", seed=str(i), width="4") for i in (10, 2, 3)] + [run("wide-s2", seed="2", width="8")]
    values = {"narrow-s10": 0.5, "narrow-s2": 0.25, "narrow-s3": 0.9, "wide-s2": 0.7}
    found = table(runs, values)
    narrow, wide = found.rows
    assert (narrow.name, wide.name) == ("narrow", "wide-s2")
    assert narrow.told("seed") == "2, 3, 10"
    assert narrow.told("width") == "4"
    assert narrow.mean("loss") == pytest.approx(mean([0.5, 0.25, 0.9]))
    assert narrow.std("loss") == pytest.approx(stdev([0.5, 0.25, 0.9]))
    assert (wide.mean("loss"), wide.std("loss")) == (0.7, None)
    assert [row.name for row in narrow.alone()] == ["narrow-s10", "narrow-s2", "narrow-s3"]
    assert found.settings == ["width", "seed"]
    assert found.grouped


@pytest.mark.parametrize("other", [{"lr": "0.2"}, {DATA: "beef"}, {CODE: "dead"}, {"fold": "1"}])
def test_runs_that_differ_in_anything_else_are_not(other):
    found = table([run("a", seed="0", lr="0.1"), run("b", **{"seed": "1", "lr": "0.1", **other})], {"a": 1, "b": 2})
    assert [row.name for row in found.rows] == ["a", "b"]


def test_only_runs_that_finished_count():
    runs = [run("a", seed="0"), run("b", "FAILED", seed="1"), run("c", "RUNNING", seed="2")]
    (row,) = table(runs, {"a": 0.5, "b": 0.1, "c": 0.2}).rows
    assert (row.mean("loss"), row.std("loss"), row.finished) == (0.5, None, 1)
    assert [one.mean("loss") for one in row.alone()] == [0.5, 0.1, 0.2]


@pytest.mark.parametrize(
    ("metric", "best"), [("loss", "low"), ("rand_error", "low"), ("iou", "high"), ("seg", "high"), ("v_rand", "high")]
)
def test_the_name_of_a_metric_tells_what_is_best(metric, best):
    found = table([run("high", lr="1"), run("low", lr="2"), run("none", lr="3")], {"high": 0.9, "low": 0.2}, metric)
    assert [row.name for row in found.rows] == [best, "low" if best == "high" else "high", "none"]
    assert found.best == {(1, metric)}


def test_equal_values_are_all_best_and_a_single_one_is_not():
    assert table([run("a", lr="1"), run("b", lr="2")], {"a": 0.5, "b": 0.5}).best == {(1, "loss"), (2, "loss")}
    assert table([run("a", lr="1"), run("b", lr="2")], {"a": 0.5}).best == set()


def test_values_of_other_data_or_of_runs_that_did_not_finish_are_not_compared():
    runs = [run("a", **{DATA: "1"}), run("b", lr="2"), run("c", lr="3"), run("d", "KILLED", lr="4")]
    found = table(runs, {"a": 0.1, "b": 0.3, "c": 0.4, "d": 0.2})
    assert [found.rows[number - 1].name for number, _ in found.best] == ["b"]


def test_children_stand_under_their_parents():
    runs = [run("sweep"), run("b", parent="sweep", lr="1"), run("a", parent="sweep", lr="2"), run("c", lr="3")]
    runs += [run("deep", parent="a"), run("lost", parent="not here", lr="9")]
    found = table(runs, {"a": 0.2, "b": 0.4, "c": 0.1, "deep": 0.01, "lost": 0.5})
    assert [(row.name, row.depth) for row in found.rows] == [
        ("c", 0), ("lost", 0), ("sweep", 0), ("a", 1), ("deep", 2), ("b", 1)
    ]  # fmt: skip


def test_seeds_of_different_parents_stay_apart():
    runs = [run("p", x="1"), run("q", x="2"), run("p0", parent="p", seed="0"), run("p1", parent="p", seed="1")]
    runs += [run("q0", parent="q", seed="0"), run("q1", parent="q", seed="1")]
    found = table(runs, {"p0": 0.1, "p1": 0.3, "q0": 0.2, "q1": 0.8})
    assert [(row.name, len(row.runs), row.depth) for row in found.rows] == [
        ("p", 1, 0), ("p", 2, 1), ("q", 1, 0), ("q", 2, 1)
    ]  # fmt: skip


def test_of_repeated_evaluations_the_newest_that_finished_stays():
    training, other = run("training", lr="1"), run("other", lr="1")
    names = {"old": training, "new": training, "failed": training, "d4": training, "of other": other}
    trained: dict[str, Run | None] = {**names, "unknown": None, "unknown too": None}

    def evaluation(name: str, start: float, status: str = "FINISHED", **params: str) -> Run:
        return run(name, status, start=start, **{"checkpoint": "runs/x/best.pt", "part": "held_out", **params})

    evaluations = [
        evaluation("failed", 3, "FAILED"),
        evaluation("new", 2),
        evaluation("old", 1),
        evaluation("d4", 0, averaging="d4"),
        evaluation("of other", 0),
        evaluation("unknown", 0),
        evaluation("unknown too", 1),
    ]
    kept = newest(evaluations, lambda run: trained[run.name])
    assert [run.name for run in kept] == ["new", "d4", "of other", "unknown", "unknown too"]


@pytest.mark.parametrize(
    ("values", "expected"), [([0.8491, 0.1], 4), ([0.0069, 0.00005], 6), ([12.5, 3], 2), ([1, 0.9998], 4), ([0], 4)]
)
def test_the_largest_value_of_a_column_has_four_digits(values, expected):
    runs = [run(str(i), lr=str(i)) for i in range(len(values))]
    assert table(runs, {str(i): value for i, value in enumerate(values)}).decimals("loss") == expected
