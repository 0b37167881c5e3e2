"""The metrics in the form of MONAI: equal to the functions on whole stacks, whatever the batches."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from ignite.engine import Engine
from monai.metrics import MeanIoU

from bundle.metrics import isbi2012
from bundle.metrics.ctc import seg
from bundle.metrics.engine import ChallengeMetric, MetricHandler

ORACLE = Path(__file__).resolve().parent.parent / "oracle" / "isbi2012_metrics"
TRUTH = tifffile.imread(ORACLE / "truth.tif")[:, :80, :96] > 0
PROPOSAL = (tifffile.imread(ORACLE / "proposal_gaps.tif")[:, :80, :96] / 255).astype(np.float32)
STACK_MEASURES = list(isbi2012.MEASURES)


def batch(array, dtype):
    """One slice as MONAI has it: B1HW with the axes (x, y)."""
    return torch.from_numpy(np.ascontiguousarray(array.T)).to(dtype)[None, None]


def fed(metric, truth=TRUTH, proposal=PROPOSAL):
    for t, p in zip(truth, proposal, strict=True):
        metric(y_pred=batch(p, torch.float32), y=batch(t.astype(np.int64), torch.int64))
    return metric


@pytest.mark.parametrize("name", STACK_MEASURES)
def test_pooled_is_the_challenges_value(name):
    expected = isbi2012.MEASURES[name](TRUTH, PROPOSAL)
    assert fed(ChallengeMetric(name)).aggregate().item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", STACK_MEASURES)
def test_reductions_of_single_images(name):
    singles = [isbi2012.MEASURES[name](t, p) for t, p in zip(TRUTH, PROPOSAL, strict=True)]
    metric = fed(ChallengeMetric(name, reduction="mean"))
    assert metric.aggregate().item() == pytest.approx(np.mean(singles))
    assert metric.aggregate("none")[:, 0].tolist() == pytest.approx(singles)
    assert metric.aggregate("sum").item() == pytest.approx(np.sum(singles))
    assert metric.per_image().tolist() == pytest.approx(singles)


@pytest.mark.parametrize("name", STACK_MEASURES)
def test_a_volume_is_a_stack_along_its_last_axis(name):
    volume = [torch.from_numpy(np.ascontiguousarray(a.T))[None, None] for a in (PROPOSAL, TRUTH.astype(np.int64))]
    metric = ChallengeMetric(name)
    metric(*volume)
    assert metric.aggregate().item() == pytest.approx(isbi2012.MEASURES[name](TRUTH, PROPOSAL), abs=1e-12)


@pytest.mark.parametrize("name", [*STACK_MEASURES, "iou", "background_iou"])
def test_what_nobody_annotated_cannot_be_wrong(name):
    truth = TRUTH[:1].astype(np.int64)
    truth[..., :30] = -1
    values = []
    for guess in (0.0, 1.0, np.random.RandomState(0).rand(80, 30)):
        proposal = PROPOSAL[:1].copy()
        proposal[..., :30] = guess
        if "iou" in name:
            proposal = proposal > 0.5
        values.append(fed(ChallengeMetric(name), truth, proposal).aggregate().item())
    assert values[0] == values[1] == values[2]


def test_seg_pools_objects_not_images():
    truth = [np.array([[1, 0, 0, 0]]), np.array([[1, 1, 2, 2]]), np.array([[-1, -1, 0, 0]])]
    result = [np.array([[1, 0, 5, 6]]), np.array([[3, 3, 3, 3]]), np.array([[1, 1, 2, 2]])]
    metric = ChallengeMetric("seg")
    for t, r in zip(truth, result, strict=True):
        metric(batch(r, torch.int32), batch(t, torch.int32))
    assert metric.aggregate().item() == pytest.approx(seg(truth, result)) == pytest.approx(2 / 3)
    assert metric.aggregate("mean").item() == pytest.approx((1 + 0.5) / 2)  # the third has no object: no value
    assert np.isnan(metric.per_image()[2])


def test_f1_pools_cells_and_counts_the_invented_ones():
    truth = [np.array([[1, 0, 0, 0]]), np.array([[1, 1, 2, 2]]), np.array([[-1, -1, 0, 0]])]
    result = [np.array([[1, 0, 5, 6]]), np.array([[3, 3, 3, 3]]), np.array([[1, 1, 2, 2]])]
    metric = ChallengeMetric("f1")
    for t, r in zip(truth, result, strict=True):
        metric(batch(r, torch.int32), batch(t, torch.int32))
    # 1 matched; 2 missed, since an IoU of one half is no match; invented: 5, 6, 3 and 2, and not what nobody annotated
    assert metric.aggregate().item() == pytest.approx(2 * 1 / (2 * 1 + 2 + 4))
    assert metric.per_image().tolist() == pytest.approx([2 / 4, 0, 0])


@pytest.mark.parametrize("name", ["seg", "pixel_error", "rand_error", "v_rand", "v_info"])
def test_without_any_object_it_is_no_number_and_says_so(name):
    metric = ChallengeMetric(name)
    metric(batch(np.ones((3, 3)), torch.float32), batch(np.zeros((3, 3)), torch.int32))
    with pytest.warns(UserWarning, match=f"{name} is NaN: no image has an annotated object"):
        assert np.isnan(metric.aggregate().item())


def test_iou_is_monais():
    mask = PROPOSAL > 0.5
    ours = fed(ChallengeMetric("iou", "mean"), TRUTH, mask).aggregate().item()
    theirs = MeanIoU()
    for t, m in zip(TRUTH, mask, strict=True):
        theirs(batch(m, torch.float32), batch(t, torch.float32))
    assert ours == pytest.approx(theirs.aggregate().item(), rel=1e-6)


def test_the_handler_gives_the_value_and_those_of_the_images():
    pairs = [(batch(p, torch.float32), batch(t.astype(int), torch.int64)) for t, p in zip(TRUTH, PROPOSAL, strict=True)]
    engine = Engine(lambda _, pair: pair)
    engine.state.metric_details = {}
    handler = MetricHandler("rand_error", output_transform=lambda output: output)
    handler.attach(engine, "rand_error")
    engine.run(pairs)
    assert engine.state.metrics["rand_error"] == pytest.approx(isbi2012.rand_error(TRUTH, PROPOSAL))
    assert engine.state.metric_details["rand_error"].shape == (2,)
    engine.run(pairs[:1])  # a second validation begins anew
    assert engine.state.metrics["rand_error"] == pytest.approx(isbi2012.rand_error(TRUTH[:1], PROPOSAL[:1]))


def test_half_precision_is_taken_as_it_is():
    metric = ChallengeMetric("pixel_error")
    metric(batch(PROPOSAL[0], torch.bfloat16), batch(TRUTH[0].astype(int), torch.int64))
    expected = isbi2012.pixel_error(TRUTH[0], torch.from_numpy(PROPOSAL[0]).bfloat16().float().numpy())
    assert metric.aggregate().item() == pytest.approx(expected)


def test_bad_input():
    with pytest.raises(ValueError, match=r"metric must be one of pixel_error, .*iou, got 'dice'"):
        ChallengeMetric("dice")
    with pytest.raises(ValueError, match=r"reduction must be one of pooled, none, mean, .* got 'median'"):
        ChallengeMetric("iou", "median")
    with pytest.raises(ValueError, match=r"y_pred and y of one shape B1HW\[D\], got \(1, 1, 4, 4\) and \(1, 1, 4, 5\)"):
        ChallengeMetric("iou")(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(ValueError, match=r"one shape B1HW\[D\]"):
        ChallengeMetric("iou")(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="no image was seen: v_rand"):
        ChallengeMetric("v_rand").aggregate()


def test_the_background_s_iou_is_that_of_the_inverted_maps():
    inverted = fed(ChallengeMetric("iou"), ~TRUTH, PROPOSAL <= 0.5).aggregate().item()
    assert fed(ChallengeMetric("background_iou"), TRUTH, PROPOSAL > 0.5).aggregate().item() == inverted
    assert inverted != fed(ChallengeMetric("iou"), TRUTH, PROPOSAL > 0.5).aggregate().item()


def test_cells_that_touch_are_two_to_the_measures_of_regions():
    truth = torch.zeros(1, 1, 40, 40, dtype=torch.int32)
    truth[..., 5:35, 5:20], truth[..., 5:35, 20:35] = 1, 2
    merged = (truth > 0).float()
    parted = merged.clone()
    parted[..., 19:21] = 0
    for name, best, worse in (("rand_error", 0.0, 0.3), ("v_rand", 1.0, 0.7), ("warping_error", 0.0, 1 / 1600)):
        values = []
        for proposal in (parted, merged):
            metric = ChallengeMetric(name)
            metric(proposal, truth)
            values.append(float(metric.aggregate()))
        assert values[0] == pytest.approx(best, abs=0.05), name  # the ridge takes its pixels
        assert abs(values[1] - best) >= abs(worse - best), name
