"""Pixel error against the values that the challenge's own classes print (tests/oracle), and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bundle.metrics.engine import PixelError
from bundle.metrics.isbi2012 import f_scores, pixel_counts, pixel_error

ORACLE = Path(__file__).resolve().parent.parent / "oracle" / "isbi2012_metrics"
EXPECTED = json.loads((ORACLE / "expected.json").read_text())["values"]


def stack(name):
    return tifffile.imread(ORACLE / name)


@pytest.mark.parametrize("name", EXPECTED)
def test_equal_to_the_challenge(name):
    found = pixel_error(stack("truth.tif") > 0, stack(name) / 255)
    assert found == pytest.approx(EXPECTED[name]["pixel_error"], abs=1e-12)


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
    assert pixel_error(truth, proposal) == pytest.approx(literal(truth.tolist(), proposal.tolist()), abs=1e-12)


def test_counts_of_images_add_up():
    truth, proposal = stack("truth.tif") > 0, stack("proposal_noisy.tif") / 255
    each = sum(pixel_counts(t, p) for t, p in zip(truth, proposal, strict=True))
    assert 1 - f_scores(each).max() == pixel_error(truth, proposal)


def test_the_monai_metric_pools_batches_and_leaves_out_what_nobody_annotated():
    truth, proposal = stack("truth.tif") > 0, stack("proposal_noisy.tif").astype(np.float32) / 255
    metric = PixelError()
    for t, p in zip(truth, proposal, strict=True):
        label = torch.from_numpy(t.astype(np.int64))[None, None]
        label[..., :20] = -1
        metric(y_pred=torch.from_numpy(p)[None, None], y=label)
    expected = pixel_error(truth[..., 20:], proposal[..., 20:])
    assert metric.aggregate().item() == pytest.approx(expected)
    metric.reset()
    with pytest.raises(ValueError, match="no image was seen"):
        metric.aggregate()


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_values_outside_0_to_1(bad):
    with pytest.raises(ValueError, match=r"proposal must lie in 0\.\.1"):
        pixel_error([[True, False]], [[bad, 0.5]])


def test_shapes_that_differ():
    with pytest.raises(ValueError, match=r"proposal has shape \(2,\), truth \(3,\)"):
        pixel_error([True] * 3, [0.5] * 2)
