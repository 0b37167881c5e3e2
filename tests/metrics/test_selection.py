"""Any metric of the validation can decide, in the direction that its name says."""

import math

import pytest

from bundle.metrics.engine import METRICS
from bundle.metrics.selection import better, key_metric, lower_is_better, other_metrics


def test_directions():
    lower = {name for name in (*METRICS, "loss", "hausdorff_distance") if lower_is_better(name)}
    assert lower == {"loss", "pixel_error", "rand_error", "warping_error", "hausdorff_distance"}
    assert better("warping_error")(0.1, 0.2)
    assert not better("warping_error")(0.2, 0.2)
    assert better("v_rand")(0.2, 0.1)
    assert not better("v_rand")(0.1, 0.2)


@pytest.mark.parametrize("name", ["loss", "seg"])
def test_a_number_is_better_than_none_and_none_is_better_than_nothing(name):
    assert better(name)(0.5, math.nan)
    assert not better(name)(math.nan, 0.5)


def test_the_key_metric_and_the_others_are_all():
    metrics = {"loss": 1, "seg": 2, "iou": 3}
    assert key_metric(metrics, "seg") == {"seg": 2}
    assert other_metrics(metrics, "seg") == {"loss": 1, "iou": 3}
    with pytest.raises(ValueError, match="best_by must be one of loss, seg, iou, got 'dice'"):
        key_metric(metrics, "dice")
