"""Cells found, missed and invented, against counting them one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bundle.metrics.contingency import contingency, whole_labels
from bundle.metrics.objects import Detections, detections

maps = hnp.arrays(np.uint8, (5, 6), elements=st.integers(0, 4))


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@given(truth=maps, result=maps, unknown=hnp.arrays(bool, (5, 6)))
def test_equal_to_counting_them(truth, result, unknown):
    truth = np.where(unknown, -1, truth.astype(int))
    cells = [truth == n for n in np.unique(truth[truth > 0])]
    others = [result == n for n in np.unique(result[result > 0])]
    found = sum(any(iou(cell, other) > 0.5 for other in others) for cell in cells)
    false = sum(
        not any(iou(cell, other) > 0.5 for cell in cells) and 2 * (other & unknown).sum() <= other.sum()
        for other in others
    )
    assert detections(truth, result) == (found, len(cells) - found, false)


def test_f1_and_its_absence():
    assert Detections(3, 1, 1).f1 == pytest.approx(0.75)
    assert np.isnan(Detections(0, 0, 0).f1)


def test_a_cell_where_nobody_annotated_is_not_false():
    truth = np.array([[1, 1, 0, 0, -1, -1]])
    assert detections(truth, np.array([[1, 1, 0, 2, 2, 2]])) == (1, 0, 0)
    assert detections(truth, np.array([[1, 1, 2, 2, 2, 0]])) == (1, 0, 1)


@given(truth=maps, result=maps)
def test_the_contingency_table_counts_every_pixel(truth, result):
    table = contingency(truth, result)
    assert table.overlap.sum() == truth.size
    for one, other, overlap in zip(table.one, table.other, table.overlap, strict=True):
        assert overlap == ((truth == table.labels[one]) & (result == table.others[other])).sum() > 0
    assert table.areas.tolist() == [(truth == label).sum() for label in table.labels]
    assert table.other_areas.tolist() == [(result == label).sum() for label in table.others]


@pytest.mark.parametrize("bad", [0.5, np.nan, -1.0, np.inf])
def test_labels_that_are_none(bad):
    with pytest.raises(ValueError, match="result must hold whole numbers of at least 0, got "):
        whole_labels(np.array([0.0, bad]), "result")


@pytest.mark.parametrize(("value", "near"), [(0.4, "0.5"), (1, "0.99")])
def test_min_iou_where_partners_would_not_be_unique(value, near):
    with pytest.raises(ValueError, match=rf"min_iou must .*\({near} is near\)"):
        detections([[1]], [[1]], min_iou=value)
