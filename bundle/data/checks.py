"""Whether a data set can be learned from and measured on: its parts share no image, its labels mark objects."""

from __future__ import annotations

import filecmp
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from bundle.data.errors import ImageError
from bundle.data.fingerprint import image_fingerprint, seen_images
from bundle.data.item import Item
from transforms.labels.instances import IGNORE

__all__ = ["require_apart", "require_objects"]

logger = logging.getLogger(__name__)

_FEW = 5
#: regions that a background lies between
_OTHERS = 3


def require_apart(labelled: Sequence[Item], training: Sequence[Item], validation: Sequence[Item]) -> None:
    """Check that no image trains and measures, under whatever name, gray scale and orientation.

    What is measured are the validation and, where the parts are of ``labelled``, the rest of it: what is held out.
    Near-copies are named in the log, see :func:`bundle.data.fingerprint.seen_images`.

    Args:
        labelled: datalist of the data set.
        training, validation: parts of it, or others that MONAI Label feeds.

    Raises:
        ValueError: naming both files of an image that is in two parts.
        ImageError: for a label that is a copy of its image.
    """
    for item in (*training, *validation):
        if "label" in item and _copies(item["image"], item["label"]):
            raise ImageError(item["label"], f"it is the same file as its image {item['image']}: put the label there")
    used = {_file(item) for item in (*training, *validation)}
    held_out = [item for item in labelled if _file(item) not in used] if used <= set(map(_file, labelled)) else []
    # without those of a single gray value, as black frames of a film
    known = {_file(item): text for item in training if len(text := image_fingerprint(item)) > 16}
    for option, measured in (("validation", validation), ("held_out", held_out)):
        seen = seen_images(measured, known)
        same = [f"{_file(found.item)} is {found.name}" for found in seen if found.same]
        if same:
            raise ValueError(
                f"{option} has {len(same)} of {len(measured)} images that training has too, perhaps in another gray "
                f"scale or orientation: {_some(same)}; what is measured on them says nothing of new images: remove "
                f"one of each two files, or name what to measure on by --{option} \"['name', ...]\""
            )
        if seen:
            pairs = [f"{_file(found.item)} like {found.name} (correlation {found.correlation:.3f})" for found in seen]
            logger.warning(
                "%s has %d of %d images that are nearly training images: copies, or neighbours in a film (then "
                "--folds with --blocks true keeps them apart); what is measured on them looks better than it is: %s",
                option, len(seen), len(measured), _some(pairs),
            )  # fmt: skip


def require_objects(labels: Sequence[Any], files: Sequence[str]) -> None:
    """Check that the labels that train mark something; say when they look inverted.

    Swapped labels are recognised by their shape: in most of them, one object is nearly all of what is marked,
    reaches all four sides and lies between at least three other regions. A web of membranes that shall be the object
    looks so, too, and confluent cells of one value, so that this is but a warning.

    Args:
        labels: instance maps (1, x, y, ...): 0 background, 1, 2, ... objects, -1 not annotated.
        files: of each.

    Raises:
        ValueError: when none of them has an object, or none anything else.
    """
    maps = [np.asarray(label)[0] for label in labels]
    if not maps:
        return
    of = f"{'none of the ' if len(maps) > 1 else 'not one of '}{len(maps)} training labels"
    if all(bool((each == IGNORE).all()) for each in maps):
        raise ValueError(
            f"{of} has an annotated pixel, all are {IGNORE} (not annotated), as in {files[0]}: annotate some"
        )
    if not any(bool((each > 0).any()) for each in maps):
        raise ValueError(
            f"{of} marks an object, all their pixels are 0 (background) or not annotated, as in {files[0]}: objects "
            "are 1, 2, 3, ..., or all of one value such as 255"
        )
    if all(int(each.min()) > 0 and each.min() == each.max() for each in maps):
        raise ValueError(
            f"{of} has background, all their pixels are {int(maps[0].flat[0])}, as in {files[0]}: background is 0"
        )
    swapped = [file for each, file in zip(maps, files, strict=True) if each.ndim == 2 and _looks_swapped(each)]
    if 2 * len(swapped) > sum(bool((each > 0).any()) for each in maps):
        logger.warning(
            "are objects and background swapped in the labels? In %d of %d one object reaches all four sides and "
            "lies between others, as a background does; objects must be above 0, background 0: %s",
            len(swapped), len(maps), _some(swapped),
        )  # fmt: skip


def _looks_swapped(label: np.ndarray) -> bool:
    areas = np.bincount(label[label > 0])
    if areas.size == 0 or areas.max() < 0.8 * areas.sum():
        return False
    region = label == areas.argmax()
    if not all(side.any() for side in (region[0], region[-1], region[:, 0], region[:, -1])):
        return False
    return int(ndimage.label(~region)[1]) >= _OTHERS


def _copies(first: str, second: str) -> bool:
    paths = Path(first), Path(second)
    return all(path.is_file() for path in paths) and filecmp.cmp(*paths, shallow=False)


def _file(item: Item) -> str:
    if "slices" in item:
        return f"{item['image']} slices {item['slices'][0]} to {item['slices'][1] - 1}"
    return item["image"] if item.get("slice") is None else f"{item['image']} slice {item['slice']}"


def _some(told: Sequence[str]) -> str:
    return ", ".join([*told[:_FEW], "..."] if len(told) > _FEW else told)
