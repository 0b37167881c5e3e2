"""The data set of the quick start: synthetic cells that touch (see :mod:`bundle.data.dic_cells`).

Everything is drawn from one seed; a folder is made once and is then only looked at.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tifffile

from bundle.atomic import replacing, write_json
from bundle.data.dic_cells import draw_cells

__all__ = ["TEST_COUNT", "make_dataset"]

#: images under test/, which no training ever sees
TEST_COUNT = 4
SMALLEST_SIZE = 64
MARKER = "synthetic.json"
#: counts up with every change of dic_cells that alters a pixel, so that an older folder is not taken for this one
VERSION = 1


def make_dataset(root: str | os.PathLike[str], count: int = 24, size: Sequence[int] = (256, 256), seed: int = 0) -> str:
    """Make the data set unless it is there already.

    Writes ``image/NNN.tif`` (uint8), ``label/NNN.tif`` (uint16: 0 background, 1..N cells) and, numbered on, the
    :data:`TEST_COUNT` images of ``test/image`` with their ``test/label``. The folder appears all at once under its
    name, so that a killed or a second process never leaves or sees half of it.

    Args:
        root: folder to make; it may exist when empty.
        count: labelled images for training and validation, at least 1.
        size: height and width, px, each at least 64.
        seed: the same seed gives the same bytes.

    Returns:
        ``root`` as a string, to be used as ``dataset_dir``.

    Raises:
        ValueError: for a ``count``, ``size`` or ``seed`` out of range.
        FileExistsError: when ``root`` holds anything but this very data set; nothing is overwritten.
    """
    wanted = _recipe(count, size, seed)
    target = Path(root).absolute()
    if _is_done(target, wanted):
        return str(root)
    try:
        with replacing(target) as draft:
            _write(draft, wanted)
    except OSError:  # the loser of a race finds the winner's files
        if not _is_done(target, wanted):
            raise
    return str(root)


def _recipe(count: int, size: Sequence[int], seed: int) -> dict[str, Any]:
    """Check the arguments and put them as they are written into the marker."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be an integer of at least 1 (1 is the nearest), got {count!r}")
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer in 0 .. 2^32 - 1 (0 is the usual), got {seed!r}")
    sides = [int(side) for side in size]
    if len(sides) != 2 or min(sides) < SMALLEST_SIZE:
        raise ValueError(f"size must be a height and a width of at least {SMALLEST_SIZE} px each, got {tuple(size)}")
    return {"made by": "bundle.data.synthetic", "version": VERSION, "count": count, "size": sides, "seed": seed}


def _is_done(root: Path, wanted: dict[str, Any]) -> bool:
    """Whether ``root`` holds the whole data set; False when there is nothing yet.

    Raises:
        FileExistsError: when there is something else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / MARKER
    if not marker.is_file():
        raise FileExistsError(f"{root} exists and is no synthetic data set: name a new or an empty folder")
    found = json.loads(marker.read_text(encoding="utf-8"))
    if found != wanted:
        changed = ", ".join(
            f"{key} {found.get(key)} instead of {wanted[key]}" for key in wanted if found.get(key) != wanted[key]
        )
        raise FileExistsError(f"{root} holds another synthetic data set ({changed}): name another folder or remove it")
    missing = [path for path in _paths(wanted["count"]) if not (root / path).is_file()]
    if missing:
        raise FileExistsError(f"{root} lacks {len(missing)} files of its data set, first {missing[0]}: remove it")
    return True


def _paths(count: int) -> list[str]:
    return [
        f"{'test/' if number >= count else ''}{kind}/{number:03d}.tif"
        for number in range(count + TEST_COUNT)
        for kind in ("image", "label")
    ]


def _write(root: Path, wanted: dict[str, Any]) -> None:
    paths = iter(_paths(wanted["count"]))
    for number, (image_path, label_path) in enumerate(zip(paths, paths, strict=True)):
        image, labels = draw_cells(wanted["size"], [wanted["seed"], number])
        for path, array in ((image_path, image), (label_path, labels)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / path, array, photometric="minisblack", metadata=None, software=False)
    write_json(root / MARKER, wanted)


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m bundle.data.synthetic ROOT``: make the data set."""
    parser = argparse.ArgumentParser(prog="python -m bundle.data.synthetic", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("root", help="folder to make")
    parser.add_argument("--count", type=int, default=24, help="labelled images (default 24)")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), help="height and width, px (default 256 256)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    options = parser.parse_args(arguments)
    try:
        root = make_dataset(options.root, options.count, options.size, options.seed)
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    print(f"{options.count} images with labels and {TEST_COUNT} to test on: {root}")


if __name__ == "__main__":
    main()
