"""Measure what any program found, against the truth.

``python -m bundle.metrics --truth mydata/label --result output`` measures label maps: SEG, and F1 of the cells at
several overlaps. ``--probability`` measures probability maps by the measures of ISBI 2012.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bundle.data.ctc import SEGMENTATION
from bundle.metrics.ctc import jaccard_indices, mean_of_objects
from bundle.metrics.engine import METRICS
from bundle.metrics.objects import Detections, detections
from bundle.metrics.result_files import CELLS, PROBABILITY, pairs, read_cells, read_probability, read_truth

#: intersection over union from which a cell counts as a match
OVERLAPS = (0.5, 0.6, 0.7, 0.8, 0.9)
#: of probability maps, in this order
_OF_PROBABILITY = ("rand_error", "v_rand", "v_info", "warping_error", "pixel_error")


def _score_cells(files: dict[str, tuple[Path, Path]]) -> list[str]:
    pooled, found = [], 0
    counts = dict.fromkeys(OVERLAPS, Detections(0, 0, 0))
    for name, (truth, result) in files.items():
        cells = read_cells(result)
        with _naming(name, truth, result):
            reference = read_truth(truth, split_mask=not truth.name.lower().startswith(SEGMENTATION))
            pooled.append(jaccard_indices(reference, cells))
            for overlap, before in counts.items():
                here = detections(reference, cells, overlap)
                counts[overlap] = Detections(*(one + other for one, other in zip(before, here, strict=True)))
        found += int(np.count_nonzero(np.unique(cells)))
    value, objects = mean_of_objects(pooled), sum(map(len, pooled))
    f1 = ", ".join(f"{overlap:g}: {of.f1:.4f}" for overlap, of in counts.items())
    half = counts[OVERLAPS[0]]
    return [
        f"SEG {value:.4f} over {objects} cells in {len(files)} images; the results have {found}",
        f"F1 at an IoU above {f1}",
        f"at {OVERLAPS[0]:g}: {half.found} matched, {half.missed} missed, {half.false} invented",
    ]


def _score_probability(files: dict[str, tuple[Path, Path]], scale: float) -> list[str]:
    totals = {name: np.zeros(()) for name in (*_OF_PROBABILITY, "iou")}
    for name, (truth, result) in files.items():
        probability = read_probability(result, scale)
        with _naming(name, truth, result):
            reference = read_truth(truth, split_mask=False)
            if reference.shape != probability.shape:
                raise ValueError(f"result has shape {probability.shape}, truth {reference.shape}")
            for metric, total in totals.items():
                rows = METRICS[metric][0]
                totals[metric] = total + rows(reference, probability if metric != "iou" else probability > 0.5)
    values = {name: METRICS[name][1](total) for name, total in totals.items()}
    return [f"{name} {value:.5f}" for name, value in values.items()]


@contextmanager
def _naming(name: str, truth: Path, result: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}, {truth} and {result}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the metrics of the results in one folder, measured against the truth in another."""
    parser = argparse.ArgumentParser(prog="python -m bundle.metrics", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--truth", type=Path, required=True, help="folder of <name>.tif (.png, .nii.gz, .mha), or file")
    parser.add_argument(
        "--result",
        type=Path,
        required=True,
        help="folder of <name>_cells.tif, as inference writes, or <name>.tif, or of maskTTT.tif; or file",
    )
    parser.add_argument("--names", nargs="+", help="only these images, or frames; default: all of --truth")
    parser.add_argument("--probability", action="store_true", help="results are probabilities (<name>_probability.tif)")
    parser.add_argument("--scale", type=float, default=1.0, help="value that means a probability of 1; default: 1")
    options = parser.parse_args(arguments)
    if not options.scale > 0:
        parser.error(f"--scale must be above 0 (1, 255 or 65535 are usual), got {options.scale:g}")
    try:
        end = PROBABILITY if options.probability else CELLS
        files = pairs(options.truth, options.result, options.names, end)
        lines = _score_probability(files, options.scale) if options.probability else _score_cells(files)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
