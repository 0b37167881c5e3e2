"""SEG, the segmentation measure of the Cell Tracking Challenge.

``python -m bundle.metrics.ctc --truth mydata/label --result output`` measures what inference left in ``output``;
with the challenge's own folders, ``--truth DATA/01_GT/SEG --result DATA/01_RES``, it goes by the challenge's names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import ArrayLike, NDArray

from bundle.data.ctc_names import RESULT, SEGMENTATION, frames_in
from bundle.data.formats import TIFF, extension, natural_key, one_line, stem
from bundle.metrics.contingency import contingency
from transforms.labels.instances import LabelToInstances

__all__ = ["jaccard_indices", "seg"]

_FRAME = "frame "


def jaccard_indices(truth: ArrayLike, result: ArrayLike) -> NDArray[np.float64]:
    """Jaccard index of every reference object of one frame with the result object that covers more than half of it.

    J = |R and S| / |R or S| if |R and S| > |R| / 2, else 0: at most one S can cover more than half of R.

    Args:
        truth: label map of whole numbers, 0 background, -1 annotated by nobody (no object either); any number of axes.
        result: label map of the same shape, 0 background.

    Returns:
        one value in 0..1 for each reference object, in the order of their numbers.

    Raises:
        ValueError: for shapes that differ, or labels that are not whole numbers of at least 0 (-1 in ``truth``).
    """
    table = contingency(truth, result)
    area, other_area = table.areas[table.one], table.other_areas[table.other]
    matched = (2 * table.overlap > area) & (table.others[table.other] > 0)
    jaccard = np.zeros(len(table.labels))
    jaccard[table.one[matched]] = (table.overlap / (area + other_area - table.overlap))[matched]
    return jaccard[table.labels > 0]


def seg(truth_frames: Iterable[ArrayLike], result_frames: Iterable[ArrayLike]) -> float:
    """Mean Jaccard index over all reference objects, pooled over the frames; false positives are not penalised.

    Args:
        truth_frames: label maps, 0 background, 1.. the reference objects, -1 annotated by nobody.
        result_frames: label maps of equal shapes, one for each of ``truth_frames``.

    Raises:
        ValueError: as :func:`jaccard_indices`, with the position of the frame; for numbers of frames that differ, or
            without any reference object.

    Examples:
        >>> seg([[[1, 1, 0, 2]]], [[[7, 0, 0, 8]]])
        0.5
    """
    pooled = []
    for position, (truth, result) in enumerate(zip_longest(truth_frames, result_frames)):
        if truth is None or result is None:
            raise ValueError(
                f"{'truth' if truth is None else 'result'}_frames end after {position} frames, the others continue"
            )
        try:
            pooled.append(jaccard_indices(truth, result))
        except ValueError as error:
            raise ValueError(f"frame at position {position}: {error}") from error
    return _mean(pooled)


def _mean(pooled: Sequence[NDArray[np.float64]]) -> float:
    values = np.concatenate(pooled) if pooled else np.empty(0)
    if values.size == 0:
        raise ValueError("truth_frames hold no object: SEG is a mean over the reference objects")
    return float(values.mean())


def _pairs(truth: Path, result: Path, names: Sequence[str] | None) -> dict[str, tuple[Path, Path]]:
    """The files of both folders by name, or by frame where the truth has the challenge's names.

    Raises:
        ValueError: for files that are missing, or two of one frame.
    """
    references = frames_in(truth, SEGMENTATION)
    if references:
        masks = frames_in(result, RESULT)
        wanted = [_frame(name, references) for name in names] if names else list(references)
        missing = [f"{result / RESULT}{_digits(references[n])}.tif" for n in wanted if n not in masks]
        files = {f"{_FRAME}{n}": (references[n], masks[n]) for n in wanted if n in masks}
    else:
        files_there = sorted(truth.iterdir(), key=natural_key) if truth.is_dir() else []
        there = {stem(path): path for path in files_there if extension(path) in TIFF}
        stems = names or list(there)
        files = {name: (there.get(name, truth / f"{name}.tif"), result / f"{name}_cells.tif") for name in stems}
        missing = [str(path) for pair in files.values() for path in pair if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ValueError(f"missing {', '.join(missing[:5])}{more}")
    if not files:
        raise ValueError(f"no .tif in {truth}")
    return files


def _frame(name: str, references: dict[int, Path]) -> int:
    if not name.isdecimal() or int(name) not in references:
        raise ValueError(f"names must be frames with truth, {', '.join(map(_digits, references.values()))}; got {name}")
    return int(name)


def _digits(reference: Path) -> str:
    return reference.stem[len(SEGMENTATION) :]


def _read(path: Path) -> np.ndarray:
    try:
        return tifffile.imread(path)
    except Exception as error:  # tifffile has many; whatever it is, this file cannot be used
        raise ValueError(f"{path} cannot be read ({one_line(error)})") from error


def _instances(truth: np.ndarray, name: str) -> np.ndarray:
    """Numbered cells; a mask of one number is split into its components, as in training."""
    numbered = name.startswith(_FRAME) or not truth.any()
    return truth if numbered else np.asarray(LabelToInstances()(truth[None]))[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print SEG of the label maps in one folder, and of what was found in another."""
    parser = argparse.ArgumentParser(prog="python -m bundle.metrics.ctc", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--truth", type=Path, required=True, help="folder of <name>.tif, or of man_segTTT.tif")
    parser.add_argument(
        "--result", type=Path, required=True, help="folder of <name>_cells.tif, as inference writes, or of maskTTT.tif"
    )
    parser.add_argument("--names", nargs="+", help="only these images, or frames; default: all of --truth")
    options = parser.parse_args(arguments)
    pooled, found = [], 0
    try:
        for name, (truth, result) in _pairs(options.truth, options.result, options.names).items():
            cells = _read(result)
            try:
                reference = _instances(_read(truth), name)
                pooled.append(jaccard_indices(reference, cells))
            except ValueError as error:
                raise ValueError(f"{name}, {truth} and {result}: {error}") from error
            found += int(np.count_nonzero(np.unique(cells)))
        value = _mean(pooled)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"SEG {value:.4f} over {sum(map(len, pooled))} cells in {len(pooled)} images; {found} cells found")


if __name__ == "__main__":
    main()
