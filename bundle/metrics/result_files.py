"""Which file of a folder of results belongs to which file of the truth, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bundle.console import listed
from bundle.data.ctc import RESULT, SEGMENTATION, frames_in
from bundle.data.formats import extension, natural_key, stem
from bundle.data.load_slice import LoadSlice
from transforms.labels.instances import LabelToInstances

#: ends of the names of results, as inference writes them
CELLS, PROBABILITY = "_cells", "_probability"


def pairs(truth: Path, result: Path, names: Sequence[str] | None, end: str) -> dict[str, tuple[Path, Path]]:
    """The files of truth and result by name, or by frame where the truth has the challenge's names.

    Args:
        truth: a file, or a folder of label maps, of any format that is read; ``man_segTTT.tif`` go by frame.
        result: a file; or a folder with a file for each, ``<name><end>`` or ``<name>``, or ``maskTTT.tif``.
        names: only these images or frames; None: all.
        end: :data:`CELLS` or :data:`PROBABILITY`.

    Raises:
        ValueError: for files that are missing, or two of one frame or name.
    """
    for path in (truth, result):
        if not path.exists():
            raise ValueError(f"{path} does not exist: give a folder of images, or one file")
    if truth.is_file() and result.is_file():
        return {stem(truth): (truth, result)}
    if truth.is_file() or result.is_file():
        raise ValueError(f"{truth} and {result} must be two folders, or two files")
    references = frames_in(truth, SEGMENTATION)
    if references and end == PROBABILITY:
        raise ValueError(
            f"{truth} has the challenge's names ({SEGMENTATION}TTT.tif), whose results are label maps: leave "
            "--probability out, or give the label and the map of one frame as two files"
        )
    if references:
        masks = frames_in(result, RESULT)
        wanted = [_frame(name, references) for name in names] if names else list(references)
        missing = [f"{result / RESULT}{_digits(references[n])}.tif" for n in wanted if n not in masks]
        files = {f"frame {n}": (references[n], masks[n]) for n in wanted if n in masks}
    else:
        there, found = _by_stem(truth), _by_stem(result)
        files, missing = {}, []
        for name in names or list(there):
            pair = there.get(name), found.get(name + end) or found.get(name)
            if pair[0] and pair[1]:
                files[name] = (_only(pair[0]), _only(pair[1]))
            else:
                missing.append(f"{result / (name + end)}.tif" if pair[0] else f"{truth / name}.tif")
    if missing:
        some = f"; --names {' '.join(list(files)[:2])} measures some only" if files else ""
        raise ValueError(f"missing {listed(missing, 5)}{some}")
    if not files:
        raise ValueError(f"no image in {truth}: it must be a folder with a label for each image, or one file")
    return files


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=natural_key) if folder.is_dir() else []:
        if extension(path) is not None:
            found.setdefault(stem(path), []).append(path)
    return found


def _only(paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise ValueError(f"{paths[0]} and {paths[1].name} have one name: remove one")
    return paths[0]


def _frame(name: str, references: dict[int, Path]) -> int:
    if not name.isdecimal() or int(name) not in references:
        raise ValueError(f"names must be frames with truth, {', '.join(map(_digits, references.values()))}; got {name}")
    return int(name)


def _digits(reference: Path) -> str:
    return reference.stem[len(SEGMENTATION) :]


def read_truth(path: Path, split_mask: bool = True) -> NDArray[np.int32]:
    """Numbered cells, (x, y[, z]), -1 where nobody annotated.

    Args:
        path: of a label map.
        split_mask: split a mask of one number into its components, as training does.

    Raises:
        ValueError: for a file that holds no label map.
    """
    labels = LoadSlice(label=True, spatial_dims=None)(str(path)).numpy()
    if split_mask and labels.any():
        labels = np.asarray(LabelToInstances()(labels), np.int32)
    return np.asarray(labels[0])


def read_cells(path: Path) -> NDArray[np.int32]:
    """Numbered cells of a result, (x, y[, z]).

    Raises:
        ValueError: for a file that holds no label map.
    """
    return np.asarray(LoadSlice(label=True, spatial_dims=None)(str(path)).numpy()[0])


def read_probability(path: Path, scale: float = 1.0) -> NDArray[np.float32]:
    """Probability of "cell", (x, y[, z]), 0 .. 1.

    Args:
        path: of a map of one channel.
        scale: what stands for 1 in the file: 255 or 65535 where it holds whole numbers.

    Raises:
        ValueError: for a file that holds no map of one channel, or values that are no probabilities then.
    """
    channels = LoadSlice(spatial_dims=None)(str(path)).numpy()
    if len(channels) != 1:
        raise ValueError(f"{path} has {len(channels)} channels: give a map with the probability of cell alone")
    array = channels[0] / np.float32(scale)
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        largest = 255 if high * scale <= 255 else 65535
        hint = f"; where {largest} means 1, give --scale {largest}" if low >= 0 else ""
        raise ValueError(f"{path} holds values of {low:g} to {high:g}, a probability lies in 0 .. 1{hint}")
    return np.asarray(array, np.float32)
