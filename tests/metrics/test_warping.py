"""Warping error against the values that the challenge's own classes print, a literal reference, and topology."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from bundle.metrics.isbi2012 import THRESHOLDS
from bundle.metrics.warping import Mismatch, warping_counts, warping_curve, warping_mismatches
from tests.reference import warping as reference

ORACLE = Path(__file__).resolve().parent.parent / "oracle" / "isbi2012_metrics"
EXPECTED = json.loads((ORACLE / "expected.json").read_text())["values"]
HALF = np.array([0.5])


def truth_stack():
    return tifffile.imread(ORACLE / "truth.tif") > 0


def proposal_stack(name):
    return (tifffile.imread(ORACLE / name) / 255).astype(np.float32)


def pooled(truth, proposal, thresholds):
    return sum(warping_counts(t, p, thresholds) for t, p in zip(truth, proposal, strict=True))


@pytest.mark.parametrize("name", EXPECTED)
def test_equal_to_the_challenge(name):
    truth, proposal = truth_stack(), proposal_stack(name)
    assert warping_curve(pooled(truth, proposal, THRESHOLDS)).min() == EXPECTED[name]["warping_min_splits_mergers"]
    _, _, residual, pixels = pooled(truth, proposal, HALF)[0]
    assert residual / pixels == EXPECTED[name]["warping_error_at_0.5"]


#: few grey values make many ties of the order; any float32 makes few
GREY = st.integers(0, 15).map(lambda value: np.float32(value * 17 / 255))
UNIT = st.floats(0, 1, width=32)


@st.composite
def slices(draw, elements=GREY | UNIT, largest=9):
    shape = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(np.float32, shape, elements=elements))


@given(maps=slices(), thresholds=st.lists(st.sampled_from(list(THRESHOLDS)), min_size=1, max_size=3))
def test_equal_to_the_literal_reference(maps, thresholds):
    truth, proposal = maps
    found = warping_counts(truth, proposal, np.array(thresholds))
    assert found.dtype == np.int64
    assert found.tolist() == [list(row) for row in reference.counts(truth.tolist(), proposal.tolist(), thresholds)]


@given(maps=slices(), threshold=st.sampled_from(list(THRESHOLDS)))
def test_every_mismatch_has_the_kind_of_the_literal_reference(maps, threshold):
    truth, proposal = maps
    expected = np.zeros(truth.shape, np.int8)
    for pixel, kind in reference.mismatches(truth.tolist(), proposal.tolist(), threshold).items():
        expected[pixel] = Mismatch[kind.upper().replace(" ", "_")]
    found = warping_mismatches(truth, proposal, threshold)
    assert found.dtype == np.int8
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ["proposal_false_membranes.tif", "proposal_noisy.tif", "proposal_specks.tif"])
def test_equal_to_the_literal_reference_on_grey_cells(name):
    window = np.s_[0, 40:80, 60:110]
    truth, proposal = truth_stack()[window], proposal_stack(name)[window]
    found = warping_counts(truth, proposal, THRESHOLDS[3:6])
    assert found[:, 2].all()
    expected = reference.counts(truth.tolist(), proposal.tolist(), THRESHOLDS[3:6].tolist())
    assert found.tolist() == [list(row) for row in expected]


def topology(cells):
    """Cells and membranes, with membrane all around the slice."""
    framed = np.pad(cells, 1)
    return label(framed)[1], label(~framed, structure=np.ones((3, 3)))[1]


@given(maps=slices(largest=12), threshold=st.sampled_from(list(THRESHOLDS)))
def test_the_warped_truth_keeps_its_topology(maps, threshold):
    truth, proposal = maps
    # the warped truth is the thresholded proposal but for the residual pixels
    warped = (proposal > threshold) ^ (warping_mismatches(truth, proposal, threshold) != Mismatch.NONE)
    assert topology(warped) == topology(truth)


def cell_pair(gap=(), line=()):
    """Two cells of 8 x 9 px with a membrane of 3 px between and around them, as the rows of a proposal make them."""
    cells = np.zeros((14, 27), bool)
    cells[3:11, 3:12] = cells[3:11, 15:24] = True
    for row in gap:
        cells[row, 12:15] = True
    for row in line:
        cells[row, 3:12] = False
    return cells


@pytest.mark.parametrize(
    ("changes", "splits", "mergers"),
    [
        ({}, 0, 0),
        ({"gap": [6]}, 0, 1),
        ({"gap": [4, 5, 6, 7]}, 0, 4),  # of a gap as many as it is long
        ({"gap": [4, 8]}, 0, 2),
        ({"line": [6]}, 1, 0),  # of a line as many as it is thick, however long
        ({"line": [5, 6, 7]}, 3, 0),
        ({"gap": [4], "line": [8]}, 1, 1),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_membranes_broken_and_added(changes, splits, mergers, turned):
    truth, proposal = cell_pair(), cell_pair(**changes)
    if turned:
        truth, proposal = truth.T, proposal.T
    counts = warping_counts(truth, proposal.astype(np.float32), HALF)
    assert counts.tolist() == [[splits, mergers, splits + mergers, truth.size]]
    kinds = warping_mismatches(truth, proposal.astype(np.float32), 0.5)
    assert np.count_nonzero(kinds == Mismatch.SPLIT) == splits
    assert np.count_nonzero(kinds == Mismatch.MERGER) == mergers


def test_a_membrane_pixel_broken_is_shown_where_it_is():
    truth = np.ones((7, 9), bool)
    truth[:, 4] = False
    proposal = truth.astype(np.float32)
    proposal[2, 4] = 1
    assert np.argwhere(warping_mismatches(truth, proposal, 0.5) == Mismatch.MERGER).tolist() == [[2, 4]]


@pytest.mark.parametrize("shift", [(1, 0), (-2, 1), (2, 2)])
def test_borders_moved_and_membranes_thinned_cost_nothing(shift):
    truth = cell_pair()
    moved = np.roll(truth, shift, axis=(0, 1))
    thinned = ~(~truth & np.roll(~truth, 1, axis=1) & np.roll(~truth, -1, axis=1))
    thinned[[0, -1]] = thinned[:, [0, -1]] = False
    for proposal in (moved, thinned):
        assert not np.array_equal(proposal, truth)
        assert not warping_mismatches(truth, proposal.astype(np.float32), 0.5).any()


def test_the_surest_pixel_is_flipped_first():
    # one of the two has to stay, or the cell would vanish
    truth = np.array([[1, 1]], bool)
    # 1e-9 is lost in the float32 of the distance: a tie
    for proposal, stays in (([[0.1, 0.3]], 1), ([[0.3, 0.1]], 0), ([[0.1, 0.1]], 1), ([[1e-9, 0.0]], 1)):
        found = warping_mismatches(truth, np.array(proposal, np.float32), 0.5)
        assert found[0, stays] == Mismatch.OBJECT_DELETION
        assert np.count_nonzero(found) == 1


def test_ties_are_broken_column_by_column():
    truth, proposal = np.ones((2, 2), bool), np.eye(2, dtype=np.float32)
    # one of the other diagonal has to stay, or the cell would fall apart: the one that comes later
    found = warping_mismatches(truth, proposal, 0.5)
    assert found.tolist() == [[0, Mismatch.SPLIT], [0, 0]]


def test_objects_and_holes_are_told_apart():
    def kinds(truth, proposal):
        found = warping_mismatches(np.array(truth, bool), np.array(proposal, np.float32), 0.5)
        return {Mismatch(kind) for kind in found[found > 0]}

    empty, full = np.zeros((5, 5)), np.ones((5, 5))
    spot = empty.copy()
    spot[2, 2] = 1
    assert kinds(empty, spot) == {Mismatch.OBJECT_ADDITION}
    assert kinds(spot, empty) == {Mismatch.OBJECT_DELETION}
    assert kinds(full, full - spot) == {Mismatch.HOLE_ADDITION}
    assert kinds(full - spot, full) == {Mismatch.HOLE_DELETION}


def test_slices_add_up():
    truth, proposal = truth_stack(), proposal_stack("proposal_gaps.tif")
    # side by side with membrane between them two slices are one: a frame of membrane changes nothing but the pixels
    framed = [np.hstack(np.pad(stack, ((0, 0), (1, 1), (1, 1)))) for stack in (truth, proposal)]
    together, apart = warping_counts(*framed, THRESHOLDS), pooled(truth, proposal, THRESHOLDS)
    assert np.array_equal(together[:, :3], apart[:, :3])
    assert together[0, 3] == framed[0].size
    assert apart[0, 3] == truth.size


def test_the_curve_divides_by_all_pixels():
    counts = np.array([[1, 2, 50, 100], [0, 0, 7, 100]])
    assert warping_curve(counts).tolist() == [0.03, 0.0]
    assert warping_curve(counts + counts).tolist() == [0.03, 0.0]
