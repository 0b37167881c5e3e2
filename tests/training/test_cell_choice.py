"""Settings that read cells off probabilities: the handler's choice against trying them by hand."""

import csv
import itertools
import json
import logging

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from bundle.cells import CellOptions, probability_to_instances
from bundle.metrics.ctc import seg
from bundle.metrics.objects import detections
from bundle.training import ChooseCells

GRID = {"threshold": [0.2, 0.5, 0.8], "min_size": [0, 4, 30]}


def image(seed):
    """Two discs that a low threshold joins, with specks of 1 to 3 px beside them, as (probability, truth)."""
    x, y = np.mgrid[:40, :60]
    left, right = (np.hypot(x - 20, y - centre) for centre in (18, 40))
    truth = np.where(left < 10, 1, np.where(right < 10, 2, 0))
    probability = np.clip(1.4 - np.minimum(left, right) / 12, 0, 1)
    specks = np.random.RandomState(seed).randint(0, 6, size=(4, 2))
    probability[specks[:, 0], specks[:, 1]] = 0.9
    return probability.astype(np.float32), truth


def output(probability, truth):
    return [{"probability_cell": torch.from_numpy(probability)[None], "truth": torch.from_numpy(truth)[None]}]


IMAGES = [image(0), image(1)]


def choose(folder, images=IMAGES, **options):
    engine = Engine(lambda _, pair: output(*pair))
    ChooseCells(folder, **{"grid": GRID, **options}).attach(engine)
    engine.run(images)
    chosen = json.loads((folder / "cells.json").read_text())
    rows = list(csv.DictReader((folder / "choice.csv").open()))
    return {name.removeprefix("cells#"): value for name, value in chosen.items()}, rows


@pytest.mark.parametrize("by", ["seg", "f1"])
def test_it_is_the_best_of_all(by, tmp_path):
    chosen, rows = choose(tmp_path, by=by)
    scores = {}
    for threshold, min_size in itertools.product(*GRID.values()):
        found = [probability_to_instances(p, threshold=threshold, min_size=min_size) for p, _ in IMAGES]
        counts = np.sum([detections(t, cells) for (_, t), cells in zip(IMAGES, found, strict=True)], axis=0)
        f1 = 2 * counts[0] / (2 * counts[0] + counts[1] + counts[2])
        scores[threshold, min_size] = {"seg": seg([t for _, t in IMAGES], found), "f1": f1}
    measured = {(float(row["threshold"]), int(row["min_size"])): row for row in rows}
    assert measured.keys() == scores.keys()
    for setting, expected in scores.items():
        assert {name: float(measured[setting][name]) for name in expected} == pytest.approx(expected)
    best = max(values[by] for values in scores.values())
    assert scores[chosen["threshold"], chosen["min_size"]][by] == pytest.approx(best, abs=2e-3)


def test_among_equals_the_fewest_invented_and_the_smallest_size(tmp_path):
    chosen, rows = choose(tmp_path)
    assert chosen["min_size"] == 4  # 0 invents specks, 30 does no more than 4
    assert rows[0]["false"] == "0"


def test_a_hair_of_score_is_not_worth_invented_cells(tmp_path):
    x, y = np.mgrid[:120, :120]
    truth = (np.hypot(x - 50, y - 50) < 41).astype(int)  # 5249 px
    probability = truth.astype(np.float32)
    probability[10, 46:55] = probability[100:110:3, 100] = 0.3  # on the rim, and specks
    chosen, rows = choose(
        tmp_path, [(probability, truth)], grid={"threshold": [0.2, 0.5]}, fixed=CellOptions(min_size=0)
    )
    assert [(row["threshold"], row["false"]) for row in rows] == [("0.5", "0"), ("0.2", "4")]
    assert 0.998 < float(rows[0]["seg"]) < float(rows[1]["seg"]) == 1.0
    assert chosen["threshold"] == 0.5


def test_fixed_options_are_used_and_handed_on(tmp_path):
    chosen, _ = choose(tmp_path, fixed=CellOptions(threshold=0.1, close_gaps=1.0))
    assert chosen["close_gaps"] == 1.0
    assert chosen["threshold"] in GRID["threshold"]


def test_a_best_at_the_end_of_its_grid_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        choose(tmp_path, grid={"threshold": [0.1, 0.2, 0.3], "min_size": [4]})
    assert "threshold 0.3 is at the end of its grid" in caplog.text


def test_a_low_threshold_is_tried_below_its_threshold_only(tmp_path):
    chosen, rows = choose(tmp_path, grid={"threshold": [0.2, 0.8], "low_threshold": [None, 0.5]})
    assert {(row["threshold"], row["low_threshold"]) for row in rows} == {("0.2", ""), ("0.8", ""), ("0.8", "0.5")}
    assert (chosen["threshold"], chosen["low_threshold"]) == (0.8, 0.5)  # the discs part at 0.8 and reach out to 0.5


def test_nothing_annotated(tmp_path):
    probability, truth = IMAGES[0]
    with pytest.raises(ValueError, match="part 'validation' has no annotated cell"):
        choose(tmp_path, [(probability, np.zeros_like(truth))])


def test_bad_options(tmp_path):
    with pytest.raises(ValueError, match="by must be one of seg, f1, got 'iou'"):
        ChooseCells(tmp_path, GRID, by="iou")
    with pytest.raises(ValueError, match="part must be 'validation' to choose on, got 'held_out'"):
        ChooseCells(tmp_path, GRID, part="held_out")
    with pytest.raises(ValueError, match="grid must give at least one value"):
        ChooseCells(tmp_path, {"threshold": []})
    with pytest.raises(ValueError, match="threshold must be at least 0 and below 1"):
        ChooseCells(tmp_path, {"threshold": [0.5, 2]})
