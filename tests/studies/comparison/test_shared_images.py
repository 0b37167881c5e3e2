"""Which images are shared, the worst first, and what is cut out of their pictures."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.studies.comparison.mlflow_runs import RunStore
from bundle.studies.comparison.shared_images import Panel, SharedImage, ordered_images, shared_images
from tests.studies.comparison.conftest import GRAY, GREEN, lightness
from tests.studies.comparison.reading import pixels

A = {"a": 0.1, "b": 0.9, "c": 0.5}
B = {"a": 0.5, "b": 0.7, "d": 1.0}


@pytest.mark.parametrize(("lower", "expected"), [(True, ["b", "a"]), (False, ["a", "b"])])
def test_the_worst_shared_image_comes_first(lower, expected):
    files = {"A": dict.fromkeys(A, "png"), "B": dict.fromkeys(B, "png")}
    found = ordered_images(files, {"A": A, "B": B}, lower)
    assert [image for image, _ in found] == expected
    assert dict(found) == pytest.approx({"a": 0.3, "b": 0.8})


def test_images_without_a_value_come_last_and_those_of_a_single_run_count():
    values = {"A": {"a": 0.1, "b": None, "d": 0.3}}
    assert ordered_images({"A": dict.fromkeys("bcad", "png")}, values, True) == [
        ("d", 0.3), ("a", 0.1), ("b", None), ("c", None)
    ]  # fmt: skip


def same(uri: str, colour: tuple[int, ...]) -> bool:
    return bool((np.abs(pixels(uri).astype(int) - colour) <= 3).all())


def test_each_run_shows_what_it_found(hand):
    for name, values in (("one", A), ("other", B)):
        hand.evaluation(hand.training(name), values)
    store = RunStore(hand.uri)
    runs = [run for run in store.runs("cells") if run.part is not None]
    found = shared_images(store, runs, "rand_error", 1)
    assert [(image.name, image.part, image.truth_count) for image in found] == [("b", "held_out", "2 cells")]
    (image,) = found
    assert image.value == pytest.approx(0.8)
    assert same(image.picture, GRAY)
    assert same(image.truth, GREEN)
    assert [panel.run.run_id for panel in image.panels] == [run.run_id for run in runs]
    for panel, values, best in zip(image.panels, (A, B), (False, True), strict=True):
        assert (panel.value, panel.count, panel.best, panel.whole) == (values["b"], "3 cells", best, False)
        assert same(panel.picture, (lightness(values["b"]),) * 3)


def test_names_that_are_no_file_names_and_pictures_without_boxes(hand):
    training = hand.training("one")
    for averaging in ("none", "d4"):
        hand.evaluation(training, {"set/1": 0.5}, boxes=False, averaging=averaging)
    store = RunStore(hand.uri)
    (image,) = shared_images(store, store.runs("cells"), "rand_error", 5)
    assert (image.name, image.value, image.picture) == ("set/1", 0.5, "")
    assert [(panel.value, panel.whole, pixels(panel.picture).shape) for panel in image.panels] == [
        (0.5, True, (60, 150, 3))
    ] * 2


def test_other_images_are_not_mixed(hand):
    training = hand.training("one")
    for options in ({"part": "held_out"}, {"part": "validation"}, {"provenance.data_fingerprint": "beef"}):
        hand.evaluation(training, A, **options)
    store = RunStore(hand.uri)
    found = shared_images(store, store.runs("cells"), "rand_error", 2)
    assert [(image.name, image.part, len(image.panels)) for image in found] == [
        ("b", "held_out", 1), ("c", "held_out", 1), ("b", "validation", 1), ("c", "validation", 1),
        ("b", "held_out", 1), ("c", "held_out", 1),
    ]  # fmt: skip


def test_without_evaluations_the_validation_shows(hand):
    for name in ("one", "other"):
        run_id = hand.training(name)
        for epoch, light in ((1, 30), (6, 60)):
            hand.picture(run_id, f"x_{epoch:04d}.png", light)
    store = RunStore(hand.uri)
    (image,) = shared_images(store, store.runs("cells"), "loss", 5)
    assert (image.name, image.part, image.value) == ("x", None, None)
    assert [same(panel.picture, (60, 60, 60)) for panel in image.panels] == [True, True]


@pytest.mark.parametrize(("runs", "columns"), [(1, 3), (6, 8), (7, 5), (30, 11)])
def test_rows_of_pictures_are_of_about_equal_length(runs, columns):
    panels = [Panel(run=None, picture="x")] * runs  # type: ignore[arg-type]
    assert SharedImage("a", None, None, picture="x", truth="x", panels=panels).columns == columns
