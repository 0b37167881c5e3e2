"""Labels are checked when they come in: hours later, in the middle of a training, nobody is there to correct them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import HTTPException

from bundle.data.class_values import is_not_annotated
from bundle.data.classes import Classes
from bundle.data.errors import ImageError
from bundle.data.load_slice import LoadSlice
from bundle.data.loading import require_same_axes
from bundle.data.truth import segment_values
from label_app.shared_store import SharedStore
from transforms import IGNORE, LabelToInstances
from transforms.labels.classes import class_components


class CheckedStore(SharedStore):
    """A folder of images whose labels fit them.

    A label that cannot be read, is of another size than its image, has axes that run another way, holds anything but
    whole numbers, or nothing that is annotated is refused with status 422; one that was there before stays. What an
    accepted one holds is noted in its info (:data:`FOUND`). One that cannot be written is refused with 507.

    Attributes:
        classes: those of the network; of several, segments must have their names.
    """

    #: number of cells and those of each class, px that nobody annotated, their value, and what looks wrong
    FOUND = ("cells", "classes", "not_annotated_px", "not_annotated", "warning")
    classes: Callable[[], Classes] = Classes

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        image = self.get_image_uri(image_id)
        if not image:
            raise HTTPException(404, f"image {image_id!r} is not in the studies")
        if not re.fullmatch(r"[\w-]+", label_tag):
            raise HTTPException(422, f"tag must be letters, digits, - and _ (it names a folder), got {label_tag!r}")
        info = dict(label_info or {})
        try:
            info |= _examine(image, label_filename, self.classes(), info)
        except ImageError as error:
            whose = "" if error.path == str(label_filename) else "its image does not serve: "
            raise HTTPException(422, f"the label of image {image_id!r} was not saved: {whose}{error.reason}") from error
        except (TypeError, ValueError) as error:
            raise HTTPException(422, f"the label of image {image_id!r} was not saved: {error}") from error
        try:
            with self.changing():
                before = self.get_label_uri(image_id, label_tag)
                label_id = super().save_label(image_id, label_filename, label_tag, info)
                if before and before != self.get_label_uri(image_id, label_tag):
                    # of another format: it would come back when this one is deleted
                    Path(before).unlink(missing_ok=True)
        except OSError as error:
            raise HTTPException(507, f"the label of image {image_id!r} was not saved: {error}") from error
        return label_id


def ignored_value(info: Mapping[str, Any]) -> int | None:
    """The value of pixels that nobody annotated in a label's file, from what came with its upload.

    Args:
        info: "not_annotated", the value; or "label_info", as 3D Slicer sends it: names and values of the segments, one
            of which may be called "not annotated". Without either, only -1 means that.

    Raises:
        ValueError: when the value is no whole number.
    """
    value = info.get("not_annotated")
    if value is None:
        for segment in _named(info):
            if is_not_annotated(segment.get("name", "")):
                value = segment.get("idx")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"not_annotated must be the whole number of those pixels in the file, got {value!r}")
    return value


def segments_of(info: Mapping[str, Any], classes: Classes) -> dict[str, int]:
    """Name -> value of the segments in a label's file, from what came with its upload.

    Without "label_info", the values are the numbers of the classes, as inference gives them.

    Raises:
        ValueError: for a segment whose value is no whole number, or whose name is no class.
    """
    found = {}
    for segment in _named(info):
        name, value = segment.get("name"), segment.get("idx")
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(
                f"label_info must give a name and a whole number idx of each segment, got {dict(segment)!r}"
            )
        found[name] = value
    found = found or {name: number for number, name in enumerate(classes.names) if number}
    segment_values(classes, found)
    return found


def _named(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    segments = info.get("label_info")
    named = segments if isinstance(segments, Sequence) and not isinstance(segments, str) else ()
    return [segment for segment in named if isinstance(segment, Mapping)]


def cells_and_classes(
    pixels: np.ndarray, path: str, info: Mapping[str, Any], classes: Classes
) -> tuple[np.ndarray, np.ndarray]:
    """The cells in the pixels of a label, and the class of each.

    Args:
        pixels: (1, x, y[, slices]) whole numbers.
        path: of their file.
        info: what came with its upload, see :func:`ignored_value` and :func:`segments_of`.
        classes: of the network.

    Returns:
        int32 of the shape of ``pixels``: :data:`transforms.IGNORE`, 0 background, 1..N cells; and int64 (N + 1,), 0 at
        0.

    Raises:
        ValueError: for values and segments that are no classes.
    """
    ignored = ignored_value(info)
    if classes.binary:
        cells = np.asarray(LabelToInstances(ignore_value=ignored)(pixels))
        return cells, np.minimum(np.arange(cells.max(initial=0) + 1), 1)
    kinds = segment_values(classes, segments_of(info, classes)).indices(pixels, path, ignored)
    cells = np.asarray(class_components(np.where(kinds > 0, pixels, kinds))[0])
    table = np.zeros(int(cells.max(initial=0)) + 1, np.int64)
    table[cells[kinds > 0]] = kinds[kinds > 0]
    return cells, table


def _examine(image: str, label: str, classes: Classes, info: Mapping[str, Any]) -> dict[str, Any]:
    """Read both; what the label holds.

    Raises:
        ImageError, ValueError: when it does not fit.
    """
    pixels = LoadSlice(label=True, spatial_dims=None)(label)
    shown = LoadSlice(spatial_dims=None)(image)
    size, wanted = _size(pixels.shape[1:]), _size(shown.shape[1:])
    if size != wanted:
        raise ValueError(f"its size (x, y) is {size} px, that of the image {wanted}")
    require_same_axes(image, shown, label, pixels)
    cells, table = cells_and_classes(pixels.numpy(), label, info, classes)
    unknown, ignored = int((cells == IGNORE).sum()), ignored_value(info)
    found: dict[str, Any] = {"cells": len(np.unique(cells[cells > 0])), "not_annotated_px": unknown}
    if not classes.binary:
        found["classes"] = {name: int((table == n).sum()) for n, name in enumerate(classes.names) if n}
    if ignored is not None:
        found["not_annotated"] = ignored
    if unknown == cells.size:
        raise ValueError("none of its pixels is annotated")
    if not found["cells"]:
        found["warning"] = "it has no cell: training will take all its annotated pixels for background"
    elif not (cells == 0).any():
        found["warning"] = "it has no background: is it inverted?"
    return found


def _size(shape: Sequence[int]) -> tuple[int, ...]:
    """Without the single slice that NIfTI adds to a plane."""
    size = tuple(int(side) for side in shape)
    while len(size) > 2 and size[-1] == 1:
        size = size[:-1]
    return size
