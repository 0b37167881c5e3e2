"""The measures against the values that the challenge's own classes print (tests/oracle), and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bundle.metrics import isbi2012
from bundle.metrics.isbi2012 import MEASURES, THRESHOLDS, THRESHOLDS_2015, f_scores, pixel_counts, pixel_error

ORACLE = Path(__file__).resolve().parent.parent / "oracle" / "isbi2012_metrics"
EXPECTED = json.loads((ORACLE / "expected.json").read_text())["values"]
#: measure -> (key of the oracle, 1 minus it, tolerance)
KEYS = {
    "pixel_error": ("pixel_error", False, 1e-12),
    "rand_error": ("rand_f_max", True, 1e-12),
    "warping_error": ("warping_min_splits_mergers", False, 0),
    "v_rand": ("v_rand_thinned", False, 1e-12),
    "v_info": ("v_info_thinned", False, 1e-12),
}
PIXEL = MEASURES["pixel_error"]


def stack(name):
    return tifffile.imread(ORACLE / name)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("measure", KEYS)
def test_equal_to_the_challenge(measure, name):
    key, complement, tolerance = KEYS[measure]
    found = getattr(isbi2012, measure)(stack("truth.tif") > 0, stack(name) / 255)
    expected = 1 - EXPECTED[name][key] if complement else EXPECTED[name][key]
    assert found == pytest.approx(expected, rel=0, abs=tolerance)


@pytest.mark.parametrize("measure", KEYS)
def test_the_value_is_the_best_of_the_curve(measure):
    truth, proposal = stack("truth.tif") > 0, stack("proposal_noisy.tif") / 255
    curve = MEASURES[measure].curve(truth, proposal)
    assert curve.shape == MEASURES[measure].thresholds.shape
    best = max(curve) if measure.startswith("v_") else min(curve)
    assert MEASURES[measure](truth, proposal) == best
    assert len(set(curve)) > 1


def test_thresholds_are_summed_up_as_the_original_does():
    assert THRESHOLDS.tolist() == THRESHOLDS_2015.tolist()[:10]
    assert THRESHOLDS[3] == 0.1 + 0.1 + 0.1 != 0.3
    assert THRESHOLDS_2015[10] == 0.9999999999999999


def literal(truth, proposal):
    best, threshold = 0.0, 0.0
    for _ in range(10):
        found = sum(p > threshold and t for p, t in zip(proposal, truth, strict=True))
        wrong = sum(p > threshold and not t for p, t in zip(proposal, truth, strict=True))
        missed = sum(not p > threshold and t for p, t in zip(proposal, truth, strict=True))
        if found:
            best = max(best, 2 * found / (2 * found + wrong + missed))
        threshold += 0.1
    return 1 - best


@given(truth=hnp.arrays(bool, 12), proposal=hnp.arrays(np.float32, 12, elements=st.floats(0, 1, width=32)))
def test_equal_to_counting_pixel_by_pixel(truth, proposal):
    truth[0] = True
    found = pixel_error(truth.reshape(3, 4), proposal.reshape(3, 4))
    assert found == pytest.approx(literal(truth.tolist(), proposal.tolist()), abs=1e-12)


def test_counts_of_slices_add_up():
    truth, proposal = stack("truth.tif") > 0, (stack("proposal_noisy.tif") / 255).astype(np.float32)
    each = sum(pixel_counts(t, p, THRESHOLDS) for t, p in zip(truth, proposal, strict=True))
    assert 1 - f_scores(each).max() == pixel_error(truth, proposal)


@pytest.mark.parametrize("measure", KEYS)
def test_one_slice_is_a_stack_of_one(measure):
    truth, proposal = stack("truth.tif")[0] > 0, stack("proposal_shift1.tif")[0] / 255
    assert MEASURES[measure](truth, proposal) == MEASURES[measure](truth[None], proposal[None])


@pytest.mark.parametrize("measure", KEYS)
def test_the_truth_may_be_instances(measure):
    truth, proposal = stack("truth.tif") > 0, stack("proposal_shift1.tif") / 255
    assert MEASURES[measure](truth * 7, proposal) == MEASURES[measure](truth, proposal)


@pytest.mark.parametrize("measure", KEYS)
def test_a_slice_without_cells_has_no_value_and_does_not_spoil_the_others(measure):
    truth, proposal = stack("truth.tif") > 0, stack("proposal_gaps.tif") / 255
    empty, guess = np.zeros_like(truth[:1]), np.zeros_like(proposal[:1])
    alone = MEASURES[measure](truth, proposal)
    together = MEASURES[measure](np.concatenate([truth, empty]), np.concatenate([proposal, guess]))
    # the warping error is per pixel of all slices
    assert together == pytest.approx(alone * (2 / 3 if measure == "warping_error" else 1))
    with pytest.raises(ValueError, match="truth has no cell"):
        MEASURES[measure](empty, guess)


@pytest.mark.parametrize("measure", KEYS)
@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_values_outside_0_to_1(measure, bad):
    proposal = np.full((3, 4, 5), 0.5)
    proposal[1, 2, 3] = bad
    with pytest.raises(ValueError, match=r"proposal must lie in 0\.\.1, got .* in slice 1"):
        MEASURES[measure](np.ones((3, 4, 5)), proposal)


def test_shapes():
    with pytest.raises(ValueError, match=r"proposal has shape \(2, 2\), truth \(2, 3\)"):
        pixel_error(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"truth must be \(slices, H, W\) or \(H, W\).*got shape \(3,\)"):
        pixel_error(np.ones(3), np.ones(3))
