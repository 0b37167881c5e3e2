"""Generated images of three kinds of touching objects, for classes: ``python -m bundle.data.synthetic_classes ROOT``.

Round cells, rods, which are darker, and round cells that carry a marker: these look like the first kind in the first
channel, and differ in the second one alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy import ndimage

from bundle.atomic import replacing, write_json
from bundle.data.classes import CLASS_DIR, FILE
from bundle.data.drawing import largest_parts
from bundle.geometry.kinds import require_positive

NAMES = ("background", "round", "rod", "marked")
#: the first shows all objects, the second those that carry a marker
CHANNELS = ("outline", "marker")
#: images under test/, which no training ever sees
TEST_COUNT = 4
_SMALLEST = 64
_MARKER = "synthetic_classes.json"
_TRUTHS = ("instances+classes", "classes")


def draw_objects(size: Sequence[int], seed: Sequence[int] | int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One image: two channels, the number of each object and its class.

    Args:
        size: height and width, px.
        seed: of everything in it.

    Returns:
        image (2, height, width) uint8; instances (height, width) uint16, 0 background, 1..N; classes, the same size,
        uint8, numbers of :data:`NAMES`.
    """
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    nearest = np.full(tuple(size), np.inf)
    instances, classes = np.zeros(tuple(size), np.uint16), np.zeros(tuple(size), np.uint8)
    row, column = random.rand(2) * size
    for number in range(1, max(4, size[0] * size[1] // 700)):
        kind = random.randint(1, len(NAMES))
        a = random.uniform(13, 19) if kind == 2 else random.uniform(8, 12)
        b = random.uniform(4, 6) if kind == 2 else a * random.uniform(0.85, 1)
        angle = random.uniform(0, np.pi)
        if random.rand() < 0.25:  # a new clump; else beside the object before, which it will touch
            row, column = random.rand(2) * size
        else:
            way, far = random.uniform(0, 2 * np.pi), random.uniform(12, 20)
            row, column = row + far * np.sin(way), column + far * np.cos(way)
        along = ((columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)) / a
        across = ((rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)) / b
        distance = np.hypot(along, across)
        own = (distance < 1) & (distance < nearest)  # objects touch, and never overlap
        nearest[own], instances[own], classes[own] = distance[own], number, kind
    instances = largest_parts(instances, 40)
    classes[instances == 0] = 0
    inside = ndimage.gaussian_filter((instances > 0).astype(float), 1)
    edge = np.zeros(instances.shape, bool)
    for axis in (0, 1):
        differs = np.diff(instances.astype(np.int32), axis=axis) != 0
        edge |= np.concatenate([differs, np.zeros_like(differs.take([0], axis))], axis)
    outline = (
        70
        + (90 - 30 * ndimage.gaussian_filter((classes == 2).astype(float), 1)) * inside
        - 55 * ndimage.gaussian_filter(edge.astype(float), 0.8)
    )
    outline += 6 * ndimage.gaussian_filter(random.randn(*size), 6) * 6
    marker = 40 + 100 * ndimage.gaussian_filter((classes == 3).astype(float), 1.5)
    image = np.stack([channel + 9 * random.randn(*size) for channel in (outline, marker)])
    return image.clip(0, 255).astype(np.uint8), instances, classes


def make_class_dataset(
    root: str | os.PathLike[str],
    count: int = 24,
    size: Sequence[int] = (256, 256),
    seed: int = 0,
    truth: str = "instances+classes",
) -> str:
    """Make the data set unless it is there already.

    Writes ``image/NNN.tif`` (two named channels), ``label/NNN.tif`` with, of instances and classes, ``class/NNN.tif``,
    ``classes.json``, and, numbered on, the :data:`TEST_COUNT` images of ``test/``. The folder appears all at once.

    Args:
        root: folder to make; it may exist when empty.
        count: labelled images for training and validation, at least 1.
        size: height and width, px, each at least 64.
        seed: the same seed gives the same bytes.
        truth: "instances+classes", or "classes": the label is the class of each pixel.

    Returns:
        ``root`` as a string, to be used as ``dataset_dir``.

    Raises:
        ValueError: for an argument out of range.
        FileExistsError: when ``root`` holds anything but this very data set; nothing is overwritten.
    """
    sides = [int(side) for side in size]
    require_positive("count", count)
    if len(sides) != 2 or min(sides) < _SMALLEST:
        raise ValueError(f"size must be a height and a width of at least {_SMALLEST} px each, got {tuple(size)}")
    if truth not in _TRUTHS:
        raise ValueError(f"truth must be one of {', '.join(_TRUTHS)}, got {truth!r}")
    wanted = {"version": 1, "count": count, "size": sides, "seed": seed, "truth": truth}
    target = Path(root).absolute()
    if _is_done(target, wanted):
        return str(root)
    try:
        with replacing(target) as draft:
            for number in range(count + TEST_COUNT):
                _write(draft if number < count else draft / "test", number, draw_objects(sides, [seed, number]), truth)
            for folder in (draft, draft / "test"):
                write_json(folder / FILE, list(NAMES))
            write_json(draft / _MARKER, wanted)
    except OSError:  # the loser of a race finds the winner's files
        if not _is_done(target, wanted):
            raise
    return str(root)


def _is_done(root: Path, wanted: Mapping[str, Any]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / _MARKER
    if not marker.is_file() or not wanted.items() <= json.loads(marker.read_text(encoding="utf-8")).items():
        raise FileExistsError(f"{root} exists and holds something else: name a new or an empty folder")
    return True


def _write(folder: Path, number: int, drawn: tuple[np.ndarray, np.ndarray, np.ndarray], truth: str) -> None:
    image, instances, classes = drawn
    labels = {"label": classes} if truth == "classes" else {"label": instances, CLASS_DIR: classes}
    for name, array in {"image": image, **labels}.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        identity = uuid.UUID(bytes=hashlib.sha256(array.tobytes()).digest()[:16])  # without it, one made of the time
        stated = {"axes": "CYX", "Channel": {"Name": list(CHANNELS)}, "UUID": str(identity)}
        tifffile.imwrite(
            folder / name / f"{number:03d}.tif",
            array,
            photometric="minisblack",
            ome=name == "image",
            metadata=stated if name == "image" else None,
            software=False,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data set."""
    doc = (__doc__ or "").split(":")[0]
    parser = argparse.ArgumentParser(prog="python -m bundle.data.synthetic_classes", description=doc)
    parser.add_argument("root", help="folder to make")
    parser.add_argument("--count", type=int, default=24, help="labelled images (default 24)")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), help="height and width, px (default 256 256)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--truth", choices=_TRUTHS, default=_TRUTHS[0], help="default %(default)s")
    given = parser.parse_args(arguments)
    try:
        root = make_class_dataset(given.root, given.count, given.size, given.seed, given.truth)
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    print(f"{given.count} images with labels and {TEST_COUNT} to test on: {root}")


if __name__ == "__main__":
    main()
