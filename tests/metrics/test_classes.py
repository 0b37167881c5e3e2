"""Metrics of each class: by hand, against the metrics of one class, and as the engines report them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ignite.engine import Engine

from bundle.metrics.classes import ClassCounts, ClassMetrics, confusion_matrix
from bundle.metrics.ctc import seg
from bundle.metrics.engine import METRICS
from bundle.metrics.selection import lower_is_better

NAMES = ("ground", "a", "b")
TRUTH = arrays(np.int32, (6, 7), elements=st.integers(-1, 2))
FOUND = arrays(np.int32, (6, 7), elements=st.integers(0, 2))


@given(TRUTH, FOUND)
@settings(max_examples=60, deadline=None)
def test_the_confusion_matrix_counts_pairs(truth, found):
    matrix = confusion_matrix(truth, found, 3)
    for row, column in np.ndindex(3, 3):
        assert matrix[row, column] == np.sum((truth == row) & (found == column))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="must be equal"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(ValueError, match="classes must be 0 to 1, got 2"):
        confusion_matrix([0, 2], [0, 1], 2)
    with pytest.raises(ValueError, match="classes must be 0 to 1, got -1"):
        confusion_matrix([0, 1], [0, -1], 2)


def item(truth, found):
    """Instances are the columns; of each the class of its pixels."""
    columns = np.broadcast_to(np.arange(1, truth.shape[1] + 1), truth.shape)
    maps = {
        "true_classes": truth,
        "truth": np.where(truth > 0, columns, truth),
        "class_map": found,
        "cells": np.where(found > 0, columns, 0),
        "cell_class_map": found,
    }
    return {key: torch.from_numpy(np.ascontiguousarray(value, np.int32))[None] for key, value in maps.items()}


@given(st.lists(st.tuples(TRUTH, FOUND), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_each_class_is_measured_as_if_it_were_the_only_one(pairs):
    metrics = ClassMetrics(NAMES)
    for iteration, pair in enumerate(pairs):
        metrics.counts.see(iteration, [item(*pair)])
        metrics.counts.see(iteration, [item(*pair)])  # a second metric asks: counted once
    values = metrics.counts.values(metrics.counts.rows().sum(axis=0))
    rows, ratio = METRICS["iou"]
    for number, name in enumerate(NAMES):
        as_only = [(np.where(t < 0, t, t == number), np.where(f == number, 1, 0)) for t, f in pairs]
        expected = ratio(sum(rows(*pair) for pair in as_only))
        assert values[f"iou/{name}"] == pytest.approx(expected, nan_ok=True)
        assert values[f"dice/{name}"] == pytest.approx(2 * expected / (1 + expected), nan_ok=True)
        if number:
            objects = [[item(*pair)[key][0].numpy() for key in ("truth", "cells")] for pair in pairs]
            of_class = [
                (np.where(t == number, o, np.minimum(o, 0)), np.where(f == number, c, 0))
                for (t, f), (o, c) in zip(pairs, objects, strict=True)
            ]
            if any((t > 0).any() for t, _ in of_class):
                assert values[f"seg/{name}"] == pytest.approx(seg(*zip(*of_class, strict=True)))
            else:
                assert np.isnan(values[f"seg/{name}"])
    known = [values[f"iou/{name}"] for name in NAMES[1:] if not np.isnan(values[f"iou/{name}"])]
    assert values["iou/mean"] == pytest.approx(np.mean(known) if known else np.nan, nan_ok=True)
    assert len(metrics.counts.rows()) == len(pairs)


def test_engines_report_names_means_and_single_images():
    metrics = ClassMetrics(NAMES)
    images = [(np.array([[0, 1, 2]]), np.array([[0, 1, 1]])), (np.array([[1, -1, 2]]), np.array([[1, 1, 2]]))]
    engine = Engine(lambda engine, batch: [item(*batch)])
    engine.state_dict_user_keys.clear()
    for name, metric in metrics.handlers.items():
        metric.attach(engine, name)
    for _ in range(2):  # the second validation begins anew
        engine.state.metric_details = {}
        engine.run(images, max_epochs=1)
    reported = engine.state.metrics
    assert reported["iou/a"] == pytest.approx(2 / 3)
    assert reported["iou/b"] == pytest.approx(1 / 2)
    assert reported["iou/mean"] == pytest.approx(7 / 12)
    assert reported["dice/ground"] == 1
    assert "seg/ground" not in reported
    assert engine.state.metric_details["iou/a"].tolist() == [0.5, 1.0]
    np.testing.assert_array_equal(metrics.counts.aggregate(), [[1, 0, 0], [0, 2, 0], [0, 1, 1]])


def test_without_classes_there_are_no_metrics_of_them():
    assert ClassMetrics(None).counts is None
    assert ClassMetrics(None).handlers == {}
    with pytest.raises(ValueError, match="no image was seen"):
        ClassCounts(NAMES).rows()


def test_metrics_of_a_class_are_better_when_higher_whatever_its_name():
    assert not lower_is_better("iou/loss of cells")
    assert lower_is_better("val/loss")
