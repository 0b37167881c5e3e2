"""The data sets of the quick starts: synthetic cells that touch, in images or volumes.

See :mod:`bundle.data.dic_cells` and :mod:`bundle.data.volume_cells`.

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
from bundle.data.spacing import require_spacing
from bundle.data.volume_cells import draw_volume
from bundle.geometry.kinds import require_positive

#: images under test/, which no training ever sees
TEST_COUNT = 4
SMALLEST_SIZE = {2: 64, 3: 16}
MARKER = "synthetic.json"
#: counts up with every change of dic_cells, volume_cells or drawing that alters a pixel, so that an older folder is not
#: taken for this one
VERSION = 1


def make_dataset(
    root: str | os.PathLike[str],
    count: int = 24,
    size: Sequence[int] = (256, 256),
    seed: int = 0,
    spacing: Sequence[float] | None = None,
) -> str:
    """Make the data set unless it is there already.

    Writes ``image/NNN.tif`` (uint8), ``label/NNN.tif`` (uint16: 0 background, 1..N cells) and, numbered on, the
    :data:`TEST_COUNT` images of ``test/image`` with their ``test/label``. The folder appears all at once under its
    name, so that a killed or a second process never leaves or sees half of it.

    Args:
        root: folder to make; it may exist when empty.
        count: labelled images for training and validation, at least 1.
        size: height and width, px, each at least 64; of volumes also the number of slices, each at least 16.
        seed: the same seed gives the same bytes.
        spacing: of volumes, along height, width and slices, µm, written into the files; None is 1 along each.

    Returns:
        ``root`` as a string, to be used as ``dataset_dir``.

    Raises:
        ValueError: for a ``count``, ``size``, ``seed`` or ``spacing`` out of range.
        FileExistsError: when ``root`` holds anything but this very data set; nothing is overwritten.
    """
    wanted = _recipe(count, size, seed, spacing)
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


def _recipe(count: int, size: Sequence[int], seed: int, spacing: Sequence[float] | None) -> dict[str, Any]:
    """Check the arguments and put them as they are written into the marker."""
    require_positive("count", count)
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer in 0 .. 2^32 - 1 (0 is the usual), got {seed!r}")
    sides = [int(side) for side in size]
    if len(sides) not in SMALLEST_SIZE or min(sides) < SMALLEST_SIZE[len(sides)]:
        raise ValueError(
            f"size must be a height and a width of at least {SMALLEST_SIZE[2]} px each, or these and a number of "
            f"slices of at least {SMALLEST_SIZE[3]} each, got {tuple(size)}"
        )
    recipe = {"made by": "bundle.data.synthetic", "version": VERSION, "count": count, "size": sides, "seed": seed}
    if len(sides) == 2 and spacing is not None:
        raise ValueError(f"spacing is for volumes, whose size has three numbers, got size {tuple(size)}")
    return recipe if len(sides) == 2 else {**recipe, "spacing": require_spacing(spacing or [1.0] * 3)}


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
        seed, spacing = [wanted["seed"], number], wanted.get("spacing")
        options: dict[str, Any] = {"metadata": None}
        if spacing is None:
            image, labels = draw_cells(wanted["size"], seed)
        else:
            image, labels = (array.transpose(2, 0, 1) for array in draw_volume(wanted["size"], seed, spacing))
            high, wide, apart = spacing
            notes = {"axes": "ZYX", "unit": "um", "spacing": apart}
            options = {"imagej": True, "resolution": (1 / wide, 1 / high), "metadata": notes}
        for path, array in ((image_path, image), (label_path, labels)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / path, array, photometric="minisblack", software=False, **options)
    write_json(root / MARKER, wanted)


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m bundle.data.synthetic ROOT``: make the data set."""
    parser = argparse.ArgumentParser(prog="python -m bundle.data.synthetic", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("root", help="folder to make")
    parser.add_argument("--count", type=int, default=24, help="labelled images (default 24)")
    parser.add_argument(
        "--size", type=int, nargs="+", default=(256, 256), help="height and width, px, and slices (default 256 256)"
    )
    parser.add_argument("--spacing", type=float, nargs=3, help="of volumes: along height, width and slices, µm")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    options = parser.parse_args(arguments)
    try:
        root = make_dataset(options.root, options.count, options.size, options.seed, options.spacing)
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    kind = "images" if len(options.size) == 2 else "volumes"
    print(f"{options.count} {kind} with labels and {TEST_COUNT} to test on: {root}")


if __name__ == "__main__":
    main()
