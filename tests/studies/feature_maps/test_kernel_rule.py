"""The rule on made-up contrasts and metrics, where every hit is known."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bundle.studies.feature_maps.branch_maps import TrialMaps
from bundle.studies.feature_maps.kernel_rule import branch_values, pairs
from bundle.studies.feature_maps.map_statistics import SUM, MapStatistics, weakest
from bundle.studies.feature_maps.rule_text import rule_text, write_pairs, write_statistics
from bundle.studies.study_file import read_study
from bundle.studies.trial import Row, StudyPaths, Trial

GRID = {
    "name": "kernels",
    "option": "network_def#kernels",
    "values": [[4, 8, 16], [4, 8, 10], [2, 8, 16], [2, 8, 10], [4, 6, 16]],
}
#: variant -> contrasts of its maps (mean of two seeds), and its error (lower is better) and IoU (higher) of each seed
MEASURED = {
    "4-8-16": ((1.0, 2.0, 0.5), (0.30, 0.32), (0.60, 0.62)),
    "4-8-10": ((1.0, 2.0, 0.9), (0.20, 0.24), (0.70, 0.55)),
    "2-8-16": ((0.8, 2.0, 0.6), (0.35, 0.31), (0.61, 0.59)),
    "2-8-10": ((0.7, 2.0, 0.9), (0.10, 0.10), (0.80, 0.80)),
    "4-6-16": ((1.0, 2.5, 0.5), (0.25, 0.25), (0.50, 0.50)),
    "no_F3": ((1.5, 2.0), (0.9, 0.9), (0.1, 0.1)),
}


@pytest.fixture
def measured(study_file):
    study = read_study(study_file(grid=GRID, variants={"no_F3": {}}, metrics={"pixel_error": "error", "iou": "IoU"}))
    found, rows = [], []
    for variant, (contrasts, errors, ious) in MEASURED.items():
        for seed in (0, 1):
            values = [value + (0.1 if seed else -0.1) for value in contrasts]
            named = {f"F{k}": MapStatistics(value, 1.0, k / 4, -value) for k, value in enumerate(values, start=1)}
            kernels = study.grid.value_of(variant) or (4, 8, 16)
            trial = Trial(study, StudyPaths("tiny", Path("runs")), variant, seed)
            found.append(TrialMaps(trial, kernels, {}, {**named, SUM: MapStatistics(sum(values), 2.0, 1.0, 0.5)}))
            for metric, measures in (("pixel_error", errors), ("iou", ious)):
                rows.append(Row(variant, seed, None, "held_out", "none", metric, measures[seed], 1.0, ""))
    return study, found, pd.DataFrame(rows)


def test_pairs_differ_in_one_kernel(measured):
    trials = {(pair.larger, pair.smaller): pair for pair in pairs(*measured)}
    assert set(trials) == {
        ("4-8-16", "4-8-10"),
        ("4-8-16", "2-8-16"),
        ("4-8-10", "2-8-10"),
        ("2-8-16", "2-8-10"),
        ("4-8-16", "4-6-16"),
    }
    pair = trials["4-8-16", "4-8-10"]
    assert (pair.branch, pair.from_kernel, pair.to_kernel, pair.asked()) == ("F3", 16, 10, True)
    assert pair.weakest == {"contrast": "F3", "frequency": "F1", "leftover": "F2"}
    assert not pair.asked("leftover")
    assert pair.contrast_change == pytest.approx(0.4)
    assert pair.metric_changes["iou"] == pytest.approx((0.1, -0.07))
    assert (pair.better("pixel_error"), pair.agreed("pixel_error")) == (True, True)
    assert (pair.better("iou"), pair.agreed("iou")) == (True, False)
    other = trials["4-8-10", "2-8-10"]
    assert (other.branch, other.weakest["contrast"], other.asked()) == ("F1", "F3", False)
    assert other.asked("frequency")
    assert other.contrast_change == pytest.approx(-0.3)
    assert not trials["4-8-16", "2-8-16"].better("pixel_error")


def test_only_repeats_that_both_have_are_compared(measured):
    study, found, rows = measured
    rows = rows[(rows.variant != "4-8-10") | (rows.seed != 0)]
    (pair,) = [each for each in pairs(study, found, rows) if (each.larger, each.smaller) == ("4-8-16", "4-8-10")]
    assert pair.metric_changes["iou"] == pytest.approx((-0.07,))
    unmeasured = rows[rows.variant != "4-8-10"]
    (pair,) = [each for each in pairs(study, found, unmeasured) if each.smaller == "4-8-10"]
    assert pair.better("iou") is None
    assert "| any branch of the reference | 3 | 1/2 (1) | 0/2 (0) |" in rule_text(
        study, found, [*pairs(study, found, unmeasured)]
    )


def test_the_text_counts_hits_and_says_what_the_rule_asks_for(measured):
    study, found, _ = measured
    assert weakest(branch_values(found, "4-8-16")) == "F3"
    text = rule_text(study, found, pairs(*measured))
    assert "by contrast: F3 does least (0.50), so its kernel of 16 px should shrink: try 14, 12, 10, 8 px" in text
    assert "by frequency: F1 does least (0.25), so its kernel of 4 px should shrink: try 2 px" in text
    assert "by leftover: F2 does least (-2.00), so its kernel of 8 px should shrink: try 6, 4 px" in text
    assert "| kernels 4, 8, 10 | 1.00 ± 0.14 | 2.00 ± 0.14 | 0.90 ± 0.14 | 3.90 ± 0.42 |" in text
    assert "| no F3 | 1.50 ± 0.14 | 2.00 ± 0.14 |  | 3.50 ± 0.28 |" in text
    assert "| any branch | 5 | 4/5 (4) | 3/5 (2) |" in text
    assert "| the weakest branch by contrast | 2 | 2/2 (2) | 2/2 (1) |" in text
    assert "| another branch than that by contrast | 3 | 2/3 (2) | 1/3 (1) |" in text
    assert "| the weakest branch by leftover | 1 | 1/1 (1) | 0/1 (0) |" in text
    assert "| the reference's weakest by contrast | 1 | 1/1 (1) | 1/1 (0) |" in text
    assert "| pairs | 0/2 | 1/1 | 2/2 |" in text


def test_a_branch_as_small_as_its_stride_cannot_shrink(measured):
    study, found, _ = measured
    only = [run for run in found if run.trial.variant == "4-8-16"]
    small = [TrialMaps(run.trial, (4, 8, 8), {}, run.statistics) for run in only]
    assert "F3 does least (0.50), so its kernel of 8 px should shrink: it is as small as its stride" in rule_text(
        study, small, []
    )
    assert "needs the maps of *kernels 4, 8, 16*, of which no run is complete" in rule_text(study, found[4:], [])


def test_the_tables(measured, tmp_path):
    study, found, rows = measured
    lines = list(csv.DictReader(write_statistics(tmp_path / "c.csv", found).open()))
    assert len(lines) == 2 * (5 * 4 + 3)
    assert lines[2] == {
        **{"variant": "4-8-16", "seed": "0", "fold": "", "map": "F3", "kernel": "16"},
        **{"contrast": "0.4", "share": f"{0.4 / 3.2:.6g}", "std": "1", "frequency": "0.75", "leftover": "-0.4"},
    }
    shares = [float(line["share"]) for line in lines if line["map"] != SUM and line["variant"] == "4-8-16"]
    assert sum(shares) == pytest.approx(2, abs=1e-4)
    none = {**found[0].statistics, SUM: MapStatistics(0.0, 2.0, 1.0, 0.5)}
    lines = list(csv.DictReader(write_statistics(tmp_path / "c.csv", [replace(found[0], statistics=none)]).open()))
    assert [line["share"] for line in lines] == [""] * 4  # of no contrast
    trials = pairs(study, found, rows)
    lines = list(csv.DictReader(write_pairs(tmp_path / "p.csv", study, trials).open()))
    assert len(lines) == 5
    assert (lines[0]["branch"], lines[0]["weakest_by_contrast"], lines[0]["iou_repeats"]) == ("F3", "F3", "2")
    assert float(lines[0]["iou_change"]) == pytest.approx(np.mean([0.1, -0.07]))
    assert float(lines[0]["iou_change_std"]) == pytest.approx(np.std([0.1, -0.07], ddof=1), rel=1e-5)
