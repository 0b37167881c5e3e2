"""Which classes a network takes for which, as a picture and a table."""

from __future__ import annotations

import os
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from bundle import atomic
from bundle.metrics.classes import ClassCounts
from bundle.output.class_pictures import confusion_picture
from bundle.output.formats import write_png
from bundle.tracking.tracker import MLflowTracker


class ConfusionMatrix:
    """Ignite handler for the validator: writes ``confusion.png`` and ``confusion.csv`` of its newest validation.

    The table has a row for each true class and a column for each one found, in pixels; the picture shows shares of the
    true class. On several processes the first one writes.

    Args:
        folder: where both go; made if absent.
        counts: of the validator, :class:`bundle.metrics.classes.ClassMetrics`; None: there is one kind of cell, and
            nothing is done.
        tracker: of the run; None logs nowhere.
    """

    def __init__(
        self, folder: str | os.PathLike[str], counts: ClassCounts | None, tracker: MLflowTracker | None = None
    ) -> None:
        self.folder = Path(folder)
        self.counts = counts
        self.tracker = tracker

    def attach(self, engine: Engine) -> None:
        if self.counts is not None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self, self.counts)

    def __call__(self, engine: Engine, counts: ClassCounts) -> None:
        matrix = counts.aggregate()  # by all processes together
        if idist.get_rank() > 0:
            return
        head = ["true", *counts.names]
        rows = [[name, *map(int, row)] for name, row in zip(counts.names, matrix, strict=True)]
        atomic.write_csv(self.folder / "confusion.csv", head, rows)
        write_png(self.folder / "confusion.png", confusion_picture(matrix, counts.names))
        if self.tracker is not None:
            for name in ("confusion.png", "confusion.csv"):
                self.tracker.log_artifact(self.folder / name)
