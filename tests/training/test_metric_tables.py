"""One row an image, one a metric."""

import csv

import numpy as np
import torch
from ignite.engine import Engine, Events
from PIL import Image

from bundle.metrics.engine import MetricHandler
from bundle.metrics.isbi2012 import MEASURES
from bundle.training import MetricTables
from tests.conftest import table
from tests.metrics.test_engine import PROPOSAL, TRUTH, batch


class FakeTracker:
    def __init__(self):
        self.logged = []

    def log_artifact(self, path, folder=None):
        self.logged.append(path.name)


def evaluate(folder, batches, details, metrics, tracker=None):
    engine = Engine(lambda *_: None)
    engine.state.metric_details = {}

    @engine.on(Events.EPOCH_COMPLETED)
    def measured(engine):
        engine.state.metrics, engine.state.metric_details = metrics, details

    MetricTables(folder, tracker).attach(engine)
    engine.run(batches)
    return [list(csv.reader((folder / name).open())) for name in ("images.csv", "summary.csv")]


def test_tables(tmp_path):
    tracker = FakeTracker()
    images, summary = evaluate(
        tmp_path / "new",
        [[{"name": "b"}], [{"name": "a"}, {"name": "c"}]],
        {"seg": torch.tensor([0.5, float("nan"), 1.0])},
        {"loss": 0.25, "seg": 0.7},
        tracker,
    )
    assert images == [["image", "seg"], ["a", ""], ["b", "0.5"], ["c", "1"]]
    head, loss, seg = summary
    assert head == ["metric", "value", "mean", "std", "min", "median", "max", "images"]
    assert loss == ["loss", "0.25", "", "", "", "", "", "0"]
    assert seg == ["seg", "0.7", "0.75", "0.25", "0.5", "0.75", "1", "2"]
    assert tracker.logged == ["images.csv", "summary.csv"]


def test_details_that_numpy_cannot_take_as_they_are(tmp_path):
    """MONAI leaves those of a loss where they were computed: on the GPU, or with a gradient."""
    losses = torch.tensor([[0.1], [0.2]], dtype=torch.bfloat16, requires_grad=True)
    images, _ = evaluate(tmp_path, [[{"name": "b"}, {"name": "a"}]], {"loss": losses}, {"loss": 0.15})
    assert [(name, round(float(loss), 3)) for name, loss in images[1:]] == [("a", 0.2), ("b", 0.1)]


def test_a_second_evaluation_begins_anew(tmp_path):
    evaluate(tmp_path, [[{"name": "b"}]], {"iou": torch.tensor([0.1])}, {"iou": 0.1})
    images, _ = evaluate(tmp_path, [[{"name": "a"}]], {"iou": torch.tensor([0.2])}, {"iou": 0.2})
    assert images[1:] == [["a", "0.2"]]


def test_each_threshold_of_the_challenges_measures_has_a_row(tmp_path):
    """The whole stack, slice after slice through the engine, against the function on the stack."""
    handlers = {name: MetricHandler(name, lambda output: output) for name in MEASURES}
    pairs = [
        (batch(p, torch.float32), batch(t.astype(np.int64), torch.int64)) for t, p in zip(TRUTH, PROPOSAL, strict=True)
    ]
    engine = Engine(lambda _, number: pairs[number[0]["place"]])
    engine.state.metric_details = {}
    for name, handler in handlers.items():
        handler.attach(engine, name)
    tracker = FakeTracker()
    MetricTables(tmp_path, tracker).attach(engine)
    engine.run([[{"name": str(place), "place": place}] for place in range(len(pairs))])
    head, *rows = csv.reader((tmp_path / "thresholds.csv").open())
    assert head == ["threshold", *MEASURES]
    assert [float(row[0]) for row in rows] == [k / 10 for k in range(11)]
    for column, measure in enumerate(MEASURES.values(), start=1):
        written = [float(row[column]) for row in rows if row[column]]
        np.testing.assert_allclose(written, measure.curve(TRUTH, PROPOSAL), rtol=1e-5, atol=1e-9)
    summary = {row["metric"]: float(row["value"]) for row in table(tmp_path / "summary.csv")}
    best = min(float(row[head.index("rand_error")]) for row in rows if row[head.index("rand_error")])
    assert summary["rand_error"] == best
    assert np.asarray(Image.open(tmp_path / "thresholds.png")).std() > 10
    assert {"thresholds.csv", "thresholds.png"} <= set(tracker.logged)
