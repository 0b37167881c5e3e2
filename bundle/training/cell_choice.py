"""Choosing how cells are read off probabilities, on images kept for that."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from bundle import atomic
from bundle.cells import CellOptions, ProbabilityToInstances
from bundle.cells.classes import own_probability
from bundle.metrics.ctc import jaccard_indices
from bundle.metrics.objects import Detections, detections
from bundle.tracking.tracker import MLflowTracker

__all__ = ["ChooseCells"]

logger = logging.getLogger(__name__)

_SCORES = ("seg", "f1")
#: scores that differ by no more are taken for equal
_EQUAL = 0.002


class ChooseCells:
    """Ignite handler for an evaluator: tries :class:`bundle.cells.CellOptions`.

    Every combination of ``grid`` is measured on all images. ``choice.csv`` lists all of them, the best first, with SEG,
    F1 at an intersection over union of 0.5, and the cells found, missed and invented; ``cells.json`` holds the best as
    an overlay for the configs. Of those within 0.002 of the best score the one that invents the
    fewest cells wins, then the smallest ``min_size``: SEG itself does not see invented cells. With classes of pixels
    each class has a choice of its own.

    Args:
        folder: where both go; made if absent.
        grid: option -> values to try. Combinations whose low_threshold is not below their threshold are left out.
        fixed: all other options.
        by: "seg" or "f1".
        part: of the data; only "validation" is allowed, for what is chosen on others cannot be measured there.
        tracker: of the run; None logs nowhere.
        probability_key, truth_key: in the evaluator's output, 1HW[D]: probability of cell (of ``names``: KHW[D], that
            of each class), and the annotated instances.
        names: of the classes, the background's first, where cells are read for each by itself; None: for all together.
        true_classes_key: of the annotated class of every pixel, 1HW[D].

    Raises:
        ValueError: for an empty grid, values that are not allowed, another ``by``, or another part.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        grid: Mapping[str, Sequence[Any]],
        fixed: CellOptions | None = None,
        by: str = "seg",
        part: str = "validation",
        tracker: MLflowTracker | None = None,
        probability_key: str = "probability_cell",
        truth_key: str = "truth",
        names: Sequence[str] | None = None,
        true_classes_key: str = "true_classes",
    ) -> None:
        if by not in _SCORES:
            raise ValueError(f"by must be one of {', '.join(_SCORES)}, got {by!r}")
        if part != "validation":
            raise ValueError(f"part must be 'validation' to choose on, got {part!r}: measure on the others afterwards")
        empty = [name for name, values in grid.items() if len(values) == 0]
        if empty or not grid:
            raise ValueError(f"grid must give at least one value of each option, got {dict(grid)}")
        self.folder = Path(folder)
        self.grid = {name: list(values) for name, values in grid.items()}
        every = [
            {**CellOptions.of(fixed).told, **dict(zip(self.grid, values, strict=True))}
            for values in product(*self.grid.values())
        ]
        below = [each for each in every if each["low_threshold"] is None or each["low_threshold"] < each["threshold"]]
        self.settings = [CellOptions.of(**each) for each in below or every]
        self._label = [ProbabilityToInstances(setting) for setting in self.settings]
        self.by = by
        self.part = part
        self.tracker = tracker
        self.probability_key = probability_key
        self.truth_key = truth_key
        self.true_classes_key = true_classes_key
        self.kinds: Sequence[str | None] = [None] if names is None else names[1:]
        self._counts = np.zeros((len(self.kinds), len(self.settings), 5))

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _begin(self, engine: Engine) -> None:
        self._counts[:] = 0

    def _measure(self, engine: Engine) -> None:
        output: Any = engine.state.output
        for item in output if isinstance(output, list) else [output]:
            probability, truth = (self._array(item, key) for key in (self.probability_key, self.truth_key))
            for number, (name, of_kind) in enumerate(zip(self.kinds, self._counts, strict=True), 1):
                own, true = probability, truth
                if name is not None:
                    classes = self._array(item, self.true_classes_key)
                    own = own_probability(probability, number)[None]
                    true = np.where(classes == number, truth, np.minimum(truth, 0))
                for counts, label in zip(of_kind, self._label, strict=True):
                    cells = label(own)
                    jaccard = jaccard_indices(true, cells)
                    counts += jaccard.sum(), len(jaccard), *detections(true, cells)

    @staticmethod
    def _array(item: Mapping[str, Any], key: str) -> np.ndarray:
        return np.asarray(torch.as_tensor(item[key]).detach().cpu())

    def __call__(self, engine: Engine) -> None:
        counts = np.asarray(idist.all_reduce(torch.from_numpy(self._counts)))
        if idist.get_rank() > 0:
            return
        known = [kind for kind, of_kind in zip(self.kinds, counts, strict=True) if of_kind[0, 1]]
        if not known:
            raise ValueError(f"part {self.part!r} has no annotated cell: nothing can be chosen on it")
        for kind in self.kinds:
            if kind not in known:
                logger.warning("part %r has no annotated cell of class %r: nothing is chosen for it", self.part, kind)
        chosen = {kind: self._ordered(counts[number]) for number, kind in enumerate(self.kinds) if kind in known}
        self._write(chosen)
        for kind, rows in chosen.items():
            self._tell("" if kind is None else f"{kind}: ", rows)

    def _ordered(self, counts: np.ndarray) -> list[dict[str, Any]]:
        """A row of each setting, the best first."""
        rows = [self._row(setting, row) for setting, row in zip(self.settings, counts, strict=True)]
        enough = max(row[self.by] for row in rows) - _EQUAL

        def order(row: Mapping[str, Any]) -> tuple[float, ...]:
            equal = row[self.by] >= enough
            return not equal, *((row["false"], row["min_size"]) if equal else ()), -row[self.by]

        return sorted(rows, key=order)

    def _tell(self, kind: str, rows: Sequence[Mapping[str, Any]]) -> None:
        best = rows[0]
        logger.info(
            "%sbest of %d settings on part %r: %s %.4f, %d cells found, %d missed, %d invented, with %s",
            kind,
            len(rows),
            self.part,
            self.by.upper(),
            best[self.by],
            best["found"],
            best["missed"],
            best["false"],
            ", ".join(f"{name} {best[name]}" for name in self.grid),
        )
        for name, values in self.grid.items():
            numbers = [value for value in values if isinstance(value, int | float)]
            if len(numbers) > 2 and best[name] in (min(numbers), max(numbers)) and best[name] != 0:
                logger.warning("%s %s is at the end of its grid: try values beyond", name, best[name])

    def _row(self, setting: CellOptions, counts: np.ndarray) -> dict[str, Any]:
        found = Detections(*map(int, counts[2:]))
        return {**setting.told, "seg": counts[0] / max(counts[1], 1), "f1": found.f1, **found._asdict()}

    def _write(self, chosen: Mapping[str | None, Sequence[Mapping[str, Any]]]) -> None:
        (first, rows), *_ = chosen.items()
        if first is None:
            atomic.write_csv(self.folder / "choice.csv", rows[0], (row.values() for row in rows))
            best: dict[str, Any] = {f"cells#{name}": rows[0][name] for name in self.settings[0].told}
        else:
            listed = [(kind, *row.values()) for kind, of_kind in chosen.items() for row in of_kind]
            atomic.write_csv(self.folder / "choice.csv", ["class", *rows[0]], listed)
            options = self.settings[0].told
            best = {"cells_of": {kind: {n: rows[0][n] for n in options} for kind, rows in chosen.items()}}
        atomic.write_json(self.folder / "cells.json", best)
        if self.tracker is not None:
            for name in ("choice.csv", "cells.json"):
                self.tracker.log_artifact(self.folder / name)
