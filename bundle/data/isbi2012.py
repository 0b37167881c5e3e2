"""The EM segmentation challenge of ISBI 2012: stacks of serial-section electron micrographs of fly neurons.

Source: Arganda-Carreras et al. 2015, https://imagej.net/events/isbi-2012-segmentation-challenge; 4 x 4 x 50 nm. In
the labels membranes are 0 and cells 255: instances are their connected components.
"""

from __future__ import annotations

import os
from pathlib import Path

from bundle.data.errors import ImageError
from bundle.data.formats import spatial_shape
from bundle.data.item import Item

IMAGES, LABELS, TEST = "train-volume.tif", "train-labels.tif", "test-volume.tif"


def recognises(root: Path) -> bool:
    """Whether ``root`` holds this data set."""
    return (root / IMAGES).is_file()


def datalist(root: str | os.PathLike[str], slices: bool = True) -> list[Item]:
    """The training slices, named ``train-00``, ``train-01``, ...

    Args:
        root: folder of ``train-volume.tif`` and ``train-labels.tif``, stacks of any number of pages.
        slices: False: the stack is one item, the volume ``train``.

    Returns:
        dicts of "image", "label" (paths), "name" and "slice" (from 0).

    Raises:
        FileNotFoundError: when one of the two is missing.
        ValueError: when they differ in size or number of pages.
    """
    image, label = _require(root, IMAGES), _require(root, LABELS)
    shape, label_shape = spatial_shape(image), spatial_shape(label)
    if shape != label_shape:
        raise ImageError(label, f"its shape (x, y, pages) is {label_shape}, that of {image} is {shape}")
    if not slices:
        return [{"image": str(image), "label": str(label), "name": "train"}]
    both: Item = {"image": str(image), "label": str(label)}
    return [{**both, "name": f"train-{i:02d}", "slice": i} for i in range((*shape, 1)[2])]


def test_stack(path: str | os.PathLike[str]) -> str:
    """The file of the test slices: a stack itself, or ``test-volume.tif`` of a folder.

    Raises:
        FileNotFoundError: when it is missing.
    """
    return str(path) if Path(path).is_file() else str(_require(path, TEST))


# pytest would collect it wherever it is imported
test_stack.__test__ = False  # type: ignore[attr-defined]


def holds_labels(file: Path) -> bool:
    """Whether a file is the labels of this data set, which are no image to segment."""
    return file.name == LABELS and recognises(file.parent)


def _require(root: str | os.PathLike[str], name: str) -> Path:
    path = Path(root) / name
    if not path.is_file():
        raise FileNotFoundError(f"{root} has no {name}, which the layout isbi2012 needs")
    return path
