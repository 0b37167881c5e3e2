"""Splits: a partition, spread over the series, the same for the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.data.splits import pick, split


def make(n: int) -> list[dict]:
    return [{"image": "stack.tif", "name": f"s{i:02d}", "slice": i} for i in range(n)]


def names(items: list[dict]) -> list[str]:
    return [item["name"] for item in items]


@settings(deadline=None)
@given(n=st.integers(2, 60), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_partition_in_order_with_both_parts(n, fraction, seed):
    items = make(n)
    training = split(items, fraction, seed, "others")
    validation = split(items, fraction, seed, "selected")
    assert sorted(names(training) + names(validation)) == names(items)
    assert names(training) == sorted(names(training))
    assert names(validation) == sorted(names(validation))
    assert training
    assert validation
    assert abs(len(validation) - fraction * n) <= 1
    assert split(items, fraction, seed, "all") == items


@settings(deadline=None)
@given(n=st.integers(4, 60), count=st.integers(2, 12), seed=st.integers(0, 1000))
def test_one_from_every_stretch(n, count, seed):
    """Whatever the seed, both halves are represented and no stretch of the series goes without validation."""
    count = min(count, n - 1)
    positions = [item["slice"] for item in split(make(n), count, seed, "selected")]
    assert len(positions) == count
    for stretch, position in enumerate(positions):
        assert stretch * n // count <= position < (stretch + 1) * n // count
    if n % 2 == 0 or count > 2:
        assert min(positions) < (n + 1) // 2 <= max(positions)


def test_seed_decides():
    items = make(30)
    assert split(items, seed=1) == split(items, seed=1)
    assert len({tuple(names(split(items, seed=seed, part="selected"))) for seed in range(10)}) > 5


def test_stays_the_same_for_ever():
    """Published results name a seed: what it draws may not change with a release."""
    assert [i["slice"] for i in split(make(30), 0.2, 0, "selected")] == [4, 5, 13, 18, 23, 26]


def test_by_name():
    items = make(5)
    assert names(split(items, ["s03", "s01"], part="selected")) == ["s01", "s03"]
    assert names(split(items, ["s03", "s01"])) == ["s00", "s02", "s04"]
    assert split(items, [], part="selected") == []


@pytest.mark.parametrize("none", [0, 0.0])
def test_no_validation(none):
    assert names(split(make(1), none)) == ["s00"]
    assert split(make(3), none, part="selected") == []


@settings(deadline=None)
@given(n=st.integers(2, 40), folds=st.integers(2, 8), seed=st.integers(0, 100))
def test_folds_are_a_spread_partition(n, folds, seed):
    folds = min(folds, n)
    items = make(n)
    parts = [split(items, seed=seed, part="selected", fold=k, folds=folds) for k in range(folds)]
    assert sorted(name for part in parts for name in names(part)) == names(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for k, part in enumerate(parts):
        training = split(items, seed=seed, fold=k, folds=folds)
        assert sorted(names(training) + names(part)) == names(items)
        # one item from every complete stretch of `folds` items
        assert [item["slice"] // folds for item in part][: n // folds] == list(range(n // folds))


@given(n=st.integers(2, 40), folds=st.integers(2, 8), seed=st.integers(0, 100))
def test_folds_of_blocks_are_stretches_whatever_the_seed(n, folds, seed):
    folds = min(folds, n)
    items = make(n)
    parts = [split(items, seed=seed, part="selected", fold=k, folds=folds, blocks=True) for k in range(folds)]
    assert [name for part in parts for name in names(part)] == names(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    training = split(items, seed=seed, fold=0, folds=folds, blocks=True)
    assert names(parts[0]) + names(training) == names(items)


@given(frames=st.integers(3, 100), folds=st.integers(2, 6), data=st.data())
def test_folds_of_a_film_cut_every_truth_at_the_same_times(frames, folds, data):
    film = [{"name": f"t{t:03d}", "relative_time": t / frames} for t in range(frames)]
    gold = sorted(data.draw(st.sets(st.integers(0, frames - 1), min_size=2)))
    folds = min(folds, len(gold))
    for k in range(folds):
        whole = names(split(film, part="selected", fold=k, folds=folds, blocks=True))
        # the frames t with k / folds <= t / frames < (k + 1) / folds, in whole numbers
        assert whole == [f"t{t:03d}" for t in range(frames) if k * frames <= t * folds < (k + 1) * frames]
        few = [film[t] for t in gold]
        inside = [item["name"] for item in few if item["name"] in whole]
        if 0 < len(inside) < len(few):
            assert names(split(few, part="selected", fold=k, folds=folds, blocks=True)) == inside
        else:
            with pytest.raises(ValueError, match=f"fold {k} of {folds} stretches of time has (no|every) frame"):
                split(few, part="selected", fold=k, folds=folds, blocks=True)


@pytest.mark.parametrize(
    ("n", "arguments", "message"),
    [
        (5, {"select": 5}, "select must be 0 to 4 of 5 items, got 5"),
        (5, {"select": 5, "name": "held_out"}, "held_out must be 0 to 4 of 5 items, got 5"),
        (5, {"select": -1}, "must be 0 to 4"),
        (5, {"select": 1.0}, "at least 0 and below 1"),
        (5, {"select": -0.1}, "at least 0 and below 1"),
        (5, {"select": float("nan")}, "at least 0 and below 1"),
        (1, {"select": 0.2}, "needs at least 2 images, got 1"),
        (0, {"select": 0.2}, "needs at least 2 images, got 0"),
        (5, {"select": ["s01", "nope"]}, "1 unknown items: nope; the 5 names begin with s00"),
        (2, {"select": ["s00", "s01"]}, "all 2 items"),
        (5, {"fold": 0, "folds": 2, "blocks": "false"}, "blocks must be True or False, got 'false'"),
        (5, {"select": "s01"}, "a fraction, a number of items or a list"),
        (5, {"select": True}, "a fraction, a number of items or a list"),
        (5, {"part": "test"}, "part must be one of selected, others, all, got 'test'"),
        (5, {"fold": 3, "folds": 3}, "fold must be 0 to 2"),
        (5, {"fold": -1, "folds": 3}, "fold must be 0 to 2"),
        (5, {"fold": 0, "folds": 6}, "folds must be 2 to the number of items, 5, got 6"),
        (5, {"fold": 0, "folds": 1}, "folds must be 2"),
        (5, {"fold": 0}, "go together"),
        (5, {"folds": 3}, "go together"),
    ],
)
def test_errors(n, arguments, message):
    with pytest.raises(ValueError, match=message):
        split(make(n), **arguments)


def test_pick_takes_a_part_that_has_images():
    parts = {"validation": [{"name": "a"}], "held_out": []}
    assert pick(parts, "validation") == [{"name": "a"}]
    with pytest.raises(ValueError, match="part must be one of validation, held_out, got 'test'"):
        pick(parts, "test")
    with pytest.raises(ValueError, match="'held_out' has no images: give --held_out a number"):
        pick(parts, "held_out")
