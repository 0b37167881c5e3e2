"""What a peer's run leaves behind: probabilities, a row an image, one JSON file and a line of a table."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.__main__ import machine
from benchmarks.peers.data import truth
from benchmarks.timing import Table
from bundle import atomic
from bundle.data.fingerprint import fingerprint
from bundle.data.item import Item
from bundle.metrics.isbi2012 import MEASURES
from bundle.tracking.provenance import provenance

HELD_OUT = "held_out"
_COLUMNS = ("rand_error", "warping_error", "pixel_error", "v_rand", "v_info", "iou")

#: part -> test-time averaging -> (N, H, W) float32, probability of cell; the recipe's own averaging first
Probabilities = Mapping[str, Mapping[str, NDArray[np.float32]]]


@dataclass
class Outcome:
    """What a peer did and found.

    Attributes:
        probabilities: of every part that was segmented.
        steps: of the optimizer.
        seconds: "preparation", "training" and "inference ..." by the clock.
        losses: of every step.
        settings: what the recipe is made of.
        versions: packages that computed, where they are not those of this environment.
        cpu_minutes: of the training, where the peer tells it.
    """

    probabilities: Probabilities
    steps: int
    seconds: dict[str, float]
    losses: Sequence[float]
    settings: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    cpu_minutes: float | None = None


def measure(truths: NDArray[np.bool_], probability: NDArray[np.float32]) -> dict[str, float]:
    """All measures of a stack: those of ISBI 2012 at their best thresholds, and the IoU of the cells at 0.5.

    Args:
        truths: (N, H, W), true where there is cell.
        probability: (N, H, W) of cell, in 0..1.

    Raises:
        ValueError: see :meth:`bundle.metrics.isbi2012.Measure.curve`.
    """
    found = {name: measured(truths, probability) for name, measured in MEASURES.items()}
    cells = probability > 0.5
    found["iou"] = float((truths & cells).sum() / (truths | cells).sum())
    return {name: found[name] for name in _COLUMNS}


def report(folder: Path, options: argparse.Namespace, parts: Mapping[str, Sequence[Item]], outcome: Outcome) -> Table:
    """Write the files of a run and make its rows.

    Writes ``probability.tif``, the held-out slices by the recipe's own averaging, float32; others beside it, with
    part and averaging in their names; ``images.csv``, every slice alone; and ``result.json``.

    Args:
        folder: exists.
        options, parts: see :func:`benchmarks.peers.command.make_parser` and :func:`benchmarks.peers.data.parts`.

    Returns:
        a row for each part and averaging.
    """
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    images = []
    for part, stacks in outcome.probabilities.items():
        truths = truth(parts[part])
        metrics[part] = {}
        for averaging, probability in stacks.items():
            first = averaging == next(iter(stacks))
            words = ([] if part == HELD_OUT else [part]) + ["probability"] + ([] if first else [averaging])
            file, axes = folder / f"{'_'.join(words)}.tif", {"axes": "ZYX"}
            tifffile.imwrite(file, probability, photometric="minisblack", compression="zlib", metadata=axes)
            metrics[part][averaging] = measure(truths, probability)
            for item, true, proposed in zip(parts[part], truths, probability, strict=True):
                images.append([part, averaging, item["name"], *measure(true[None], proposed[None]).values()])
    atomic.write_csv(folder / "images.csv", ["part", "averaging", "image", *_COLUMNS], images)
    result = _facts(options, parts, outcome) | {"metrics": metrics}
    atomic.write_json(folder / "result.json", result)
    return _table(options, outcome, metrics, {part: len(parts[part]) for part in metrics})


def _facts(options: argparse.Namespace, parts: Mapping[str, Sequence[Item]], outcome: Outcome) -> dict[str, Any]:
    run = {key: value for key, value in asdict(outcome).items() if key not in ("probabilities", "losses")}
    tenth = -(-len(outcome.losses) // 10)
    return {
        "name": options.name,
        "minutes": None if getattr(options, "steps", 0) else options.minutes,
        "seed": options.seed,
        "threads": options.threads,
        **run,
        "seconds_per_step": outcome.seconds["training"] / outcome.steps,
        "loss": {
            "first tenth of the steps": float(np.mean(outcome.losses[:tenth])),
            "last tenth of the steps": float(np.mean(outcome.losses[-tenth:])),
        },
        "slices": {part: [item["name"] for item in items] for part, items in parts.items()},
        "machine": machine(options.threads),
        "provenance": provenance(items_fingerprint=fingerprint([item for items in parts.values() for item in items])),
    }


def _table(
    options: argparse.Namespace,
    outcome: Outcome,
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]],
    counts: Mapping[str, int],
) -> Table:
    rows = [
        [
            f"{options.name}, {averaging}",
            f"{counts[part]} {part.replace('_', ' ')}",
            f"{outcome.seconds['training'] / 60:.1f}",
            f"{outcome.steps}",
            *(f"{value:.5f}" if name == "warping_error" else f"{value:.4f}" for name, value in found.items()),
        ]
        for part, stacks in metrics.items()
        for averaging, found in stacks.items()
    ]
    columns = ("peer, averaging", "slices", "minutes", "steps", *(name.replace("_", " ") for name in _COLUMNS))
    return Table(f"seed {options.seed}; {machine(options.threads)}", columns, rows)
