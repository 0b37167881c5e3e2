"""Rand, V_rand and V_info against what the challenge's own classes print (tests/oracle), and against definitions."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import adapted_rand_error

from bundle.metrics import components as runs
from bundle.metrics.isbi2012 import THRESHOLDS
from bundle.metrics.rand import (
    rand_counts,
    rand_curve,
    thinned_counts,
    v_info_curve,
    v_rand_curve,
)
from bundle.metrics.thinning import thinned
from tests.reference import rand as reference

ORACLE = Path(__file__).resolve().parent.parent / "oracle" / "isbi2012_metrics"
EXPECTED = json.loads((ORACLE / "expected.json").read_text())["values"]
THRESHOLDS_2015 = np.append(THRESHOLDS, THRESHOLDS[-1] + 0.1)
HALF = np.array([0.5])

PROBABILITIES = st.floats(0, 1, width=32)
sides = st.integers(1, 9)
shapes = st.tuples(sides, sides)
masks = shapes.flatmap(lambda shape: hnp.arrays(bool, shape))


@st.composite
def slices(draw, values=PROBABILITIES):
    """A truth and a proposal of the same shape, not always square."""
    shape = draw(shapes)
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(np.float32, shape, elements=values))


def stack(name):
    return tifffile.imread(ORACLE / name)


def summed(counts, name, thresholds):
    truth, proposal = stack("truth.tif") > 0, stack(name).astype(np.float32) / np.float32(255)
    return sum(counts(*of_slice, thresholds) for of_slice in zip(truth, proposal, strict=True))


def label_map(regions, shape):
    """HW label map of Regions, 0 where there is none."""
    line = np.zeros(shape[0] * (shape[1] + 1), dtype=int)
    for (start, stop), number in zip(regions.runs, regions.numbers, strict=True):
        line[start:stop] = number
    framed = line.reshape(shape[0], shape[1] + 1)
    assert not framed[:, -1].any()
    return framed[:, :-1]


def as_division(labels):
    return {tuple(map(int, pixel)): int(labels[tuple(pixel)]) for pixel in np.argwhere(labels)}


def same_up_to_numbers(one, other):
    pairs = {(one[pixel], other[pixel]) for pixel in one}
    return one.keys() == other.keys() and len(pairs) == len(set(one.values())) == len(set(other.values()))


@pytest.mark.parametrize("name", EXPECTED)
def test_rand_error_is_the_challenges(name):
    curve = rand_curve(summed(rand_counts, name, THRESHOLDS))
    assert curve.shape == (10,)
    assert curve.max() == pytest.approx(EXPECTED[name]["rand_f_max"], abs=1e-12)


@pytest.mark.parametrize("name", EXPECTED)
def test_scores_after_thinning_are_the_challenges(name):
    counts = summed(thinned_counts, name, THRESHOLDS_2015)
    assert v_rand_curve(counts).max() == pytest.approx(EXPECTED[name]["v_rand_thinned"], abs=1e-12)
    assert v_info_curve(counts).max() == pytest.approx(EXPECTED[name]["v_info_thinned"], abs=1e-12)


@pytest.mark.parametrize("name", EXPECTED)
def test_thinning_pooled_over_slices_is_the_challenges(name):
    """The challenge's other way to add up slices tells more about the thinning: it weighs them otherwise."""
    truth, proposal = stack("truth.tif") > 0, stack(name) / np.float32(255)
    best = 0.0
    for threshold in THRESHOLDS_2015:
        pairs = np.zeros(3)
        for true, values in zip(truth, proposal, strict=True):
            basins = thinned((values.astype(np.float64) > threshold).T)
            cells = runs.overlap(runs.components(true.T), basins)
            shared, claimed, whole = ((sizes**2).sum() for sizes in (cells.shared, cells.proposed, cells.truth))
            pairs += [shared + cells.unclaimed, claimed + cells.unclaimed, whole]
        best = max(best, 2 * pairs[0] / (pairs[1] + pairs[2]))
    assert best == pytest.approx(EXPECTED[name]["v_rand_thinned_pooled"], abs=1e-12)


@given(masks)
def test_components_are_those_of_a_flood_fill(cells):
    found = runs.components(cells)
    labels = label_map(found, cells.shape)
    assert found.total == labels.max()
    assert as_division(labels) == reference.components(cells)


@given(masks)
def test_basins_are_those_of_the_literal_flood(cells):
    labels = label_map(thinned(cells.T), cells.T.shape).T
    assert same_up_to_numbers(as_division(labels), reference.basins(cells))


@given(masks)
def test_a_basin_is_connected_holds_its_component_and_touches_no_other(cells):
    found = thinned(cells)
    labels = label_map(found, cells.shape)
    if cells.any():
        own = label_map(runs.components(cells), cells.shape)
        assert np.array_equal(labels[cells], own[cells])
    assert found.total == runs.components(labels > 0).total == len(np.unique(labels[labels > 0]))


@pytest.mark.parametrize(
    ("row", "expected"),
    [("10001", "11022"), ("1001", "1102"), ("101", "102"), ("100", "111"), ("000", "111"), ("111", "111")],
)
def test_thinning_by_hand(row, expected):
    """Of two pixels between two cells, the first in the queue joins a cell, and the second becomes the dam."""
    cells = np.array([[digit == "1" for digit in row]])
    assert "".join(map(str, label_map(thinned(cells), cells.shape)[0])) == expected


def test_thinning_depends_on_the_order_of_the_scan_which_is_by_columns():
    cells = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0]], dtype=bool)
    by_rows = label_map(thinned(cells), cells.shape)
    by_columns = label_map(thinned(cells.T), cells.shape).T
    assert by_rows.tolist() == [[0, 1, 1], [2, 0, 1], [2, 2, 0]]
    assert by_columns.tolist() == [[1, 0, 2], [1, 0, 2], [1, 1, 0]]
    # the truth tells which of the two the score is of
    truth, proposal = by_columns > 0, cells.astype(np.float32)
    assert v_rand_curve(thinned_counts(truth, proposal, HALF)).tolist() == [1]


@given(shapes)
def test_membranes_of_one_px_are_thin_already(shape):
    cells = np.ones((shape[0] * 3 + 2, shape[1] * 4 + 3), dtype=bool)
    cells[2::3] = cells[:, 3::4] = False
    assert np.array_equal(label_map(thinned(cells), cells.shape) > 0, cells)


@given(slices())
def test_rand_counts_are_numbers_of_pairs(pair):
    truth, proposal = pair
    true = reference.components(truth)
    thresholds = np.array([0.0, 0.3, 0.9])
    expected = [
        reference.pair_counts(true, reference.components(proposal.astype(np.float64) > threshold))
        for threshold in thresholds
    ]
    counts = rand_counts(truth, proposal, thresholds)
    assert counts.dtype == np.int64
    assert counts.tolist() == [list(row) for row in expected]
    f = [2 * both / (proposed + whole) if whole else np.nan for both, proposed, whole in expected]
    assert rand_curve(counts) == pytest.approx(f, nan_ok=True)


@given(slices(st.sampled_from([0.0, 0.25, 0.75, 1.0])))
def test_scores_after_thinning_are_the_definitions(pair):
    truth, proposal = pair
    true = reference.components(truth)
    for threshold in (0.1, 0.5):
        counts = thinned_counts(truth, proposal, np.array([threshold]))
        if not true:
            assert not counts.any()
            continue
        proposed = reference.basins(proposal > threshold)
        both, in_proposal, in_truth = reference.pair_counts(true, proposed)
        assert v_rand_curve(counts)[0] == pytest.approx(2 * both / (in_proposal + in_truth), abs=1e-12)
        f, _, _ = reference.v_info(true, proposed)
        assert v_info_curve(counts)[0] == pytest.approx(f, abs=1e-9)


@given(slices())
def test_equal_to_scikit_image_once_every_membrane_pixel_is_a_cell(pair):
    """It takes no pixel as a pair with itself, and one cluster for all of the membrane."""
    truth, proposal = pair
    true = label_map(runs.components(truth), truth.shape)
    found = label_map(runs.components(proposal > 0.5), truth.shape)
    alone = np.where(found > 0, found, truth.size + np.arange(truth.size).reshape(truth.shape))
    both, proposed, whole = rand_counts(truth, proposal, HALF)[0] - truth.sum()
    if proposed and whole:
        assert adapted_rand_error(true, alone)[0] == pytest.approx(1 - 2 * both / (proposed + whole))


@given(slices(), st.integers(0, 7))
def test_flips_and_transposes_leave_the_rand_counts(pair, which):
    def turned(array):
        array = array[::-1] if which & 1 else array
        array = array[:, ::-1] if which & 2 else array
        return array.T if which & 4 else array

    truth, proposal = pair
    expected = rand_counts(truth, proposal, THRESHOLDS)
    assert np.array_equal(rand_counts(turned(truth), turned(proposal), THRESHOLDS), expected)


@given(slices(), st.permutations(list(THRESHOLDS)))
def test_thresholds_do_not_influence_each_other(pair, order):
    for counts in (rand_counts, thinned_counts):
        together = counts(*pair, np.array(order))
        each = [counts(*pair, np.array([threshold]))[0] for threshold in order]
        assert np.array_equal(together, each)


@given(st.floats(0, 1, width=32), st.floats(0, 1))
def test_a_threshold_is_compared_in_double_precision(value, threshold):
    truth, proposal = np.ones((1, 2), dtype=bool), np.array([[value, 1]], dtype=np.float32)
    joined = rand_counts(truth, proposal, np.array([threshold]))[0, 1] == 4
    assert joined == (float(value) > threshold and threshold < 1)


def test_the_last_threshold_of_2015_is_just_below_1():
    """Ten times 0.1 is less than 1 in double precision: a certain pixel stays a cell."""
    truth = np.array([[True, False, True]])
    counts = thinned_counts(truth, truth.astype(np.float32), THRESHOLDS_2015)
    assert v_rand_curve(counts).tolist() == [1.0] * 11


def test_counts_of_slices_add_up_to_pooled_pairs_and_mean_scores():
    truth, proposal = stack("truth.tif") > 0, stack("proposal_noisy.tif") / np.float32(255)
    pairs = list(zip(truth, proposal, strict=True))
    side_by_side = [np.concatenate([a, np.zeros_like(a[:, :1]), b], axis=1) for a, b in (truth, proposal)]
    assert np.array_equal(rand_counts(*side_by_side, THRESHOLDS), sum(rand_counts(*pair, THRESHOLDS) for pair in pairs))
    each = [thinned_counts(*pair, THRESHOLDS) for pair in pairs]
    for curve in (v_rand_curve, v_info_curve):
        assert curve(sum(each)) == pytest.approx(np.mean([curve(counts) for counts in each], axis=0))


def test_a_slice_without_cells_takes_no_part_in_the_means():
    truth = np.zeros((4, 5), dtype=bool)
    empty = thinned_counts(truth, truth.astype(np.float32), HALF)
    pairs = rand_counts(truth, truth.astype(np.float32), HALF)
    assert np.isnan([v_rand_curve(empty), v_info_curve(empty), rand_curve(pairs)]).all()
    truth[:, ::2] = True
    other = thinned_counts(truth, truth.astype(np.float32), HALF)
    assert v_rand_curve(other + empty).tolist() == [1]


def test_nothing_proposed_is_every_pixel_alone_before_thinning_and_one_cell_after_it():
    truth = np.zeros((4, 7), dtype=bool)
    truth[:, :3] = truth[:, 4:] = True
    nothing, everything = np.zeros(truth.shape, np.float32), np.ones(truth.shape, np.float32)
    assert rand_counts(truth, nothing, HALF).tolist() == [[24, 24, 2 * 12**2]]
    assert rand_counts(truth, everything, HALF).tolist() == [[2 * 12**2, 24**2, 2 * 12**2]]
    assert np.array_equal(thinned_counts(truth, nothing, HALF), thinned_counts(truth, everything, HALF))
    assert v_info_curve(thinned_counts(truth, nothing, HALF)).tolist() == [0]


def test_one_cell_found_as_one_scores_1_and_yet_no_information():
    truth = np.ones((3, 3), dtype=bool)
    counts = thinned_counts(truth, truth.astype(np.float32), HALF)
    assert (v_rand_curve(counts)[0], v_info_curve(counts)[0]) == (1, 0)


@settings(max_examples=5)
@given(st.integers(0, 100))
def test_a_slice_of_thousands_of_components(seed):
    """Against scikit-image's contingency table: more regions than a dense table of them could hold."""
    random = np.random.RandomState(seed)
    truth, proposal = random.rand(200, 201) > 0.5, random.rand(200, 201).astype(np.float32)
    both, proposed, whole = rand_counts(truth, proposal, HALF)[0] - truth.sum()
    true, found = (label_map(runs.components(cells), truth.shape) for cells in (truth, proposal > 0.5))
    assert min(true.max(), found.max()) > 2000
    alone = np.where(found > 0, found, truth.size + np.arange(truth.size).reshape(truth.shape))
    assert adapted_rand_error(true, alone)[0] == pytest.approx(1 - 2 * both / (proposed + whole))


def test_numbers_of_pairs_do_not_overflow():
    truth = np.ones((300, 300), dtype=bool)
    assert rand_counts(truth, truth.astype(np.float32), HALF).tolist() == [[90000**2] * 3]
