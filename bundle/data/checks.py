"""Whether a data set can be learned from and measured on: its parts share no image, its labels mark objects."""

from __future__ import annotations

import filecmp
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import label as regions_of_value

from bundle.console import listed
from bundle.data.errors import ImageError
from bundle.data.fingerprint import image_fingerprint, seen_images
from bundle.data.item import Item
from transforms.labels.instances import IGNORE

logger = logging.getLogger(__name__)

#: names in a message
_FEW = 5
#: regions that a background lies between
_OTHERS = 3
#: -1 in 8 and 16 bits without sign
_UNSIGNED = (255, 65535)
#: what to do, for messages
HOW_SCATTERED = (
    "give each object its own number; cut a mask with soft edges, as JPEG and scaling make them, at half of its "
    "maximum; say by --class_names what classes mean; if label/ holds the images, exchange the two folders"
)
HOW_UNSIGNED = (
    "is the largest number -1 (not annotated), saved without a sign? It counts as a cell; save the label with signed "
    "integers"
)


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
    by_slice = any("slices" in item for item in (*training, *validation))
    known = {_file(item): text for item in training if len(text := image_fingerprint(item, by_slice)) > 16}
    for option, measured in (("validation", validation), ("held_out", held_out)):
        seen = seen_images(measured, known, by_slice)
        same = [f"{_file(found.item)} is {found.name}" for found in seen if found.same]
        if same:
            raise ValueError(
                f"{option} has {len(same)} of {len(measured)} images that training has too, perhaps in another gray "
                f"scale or orientation: {listed(same, _FEW)}; what is measured on them says nothing of new images: "
                f"remove one of each two files, or name what to measure on by --{option} \"['name', ...]\""
            )
        if seen:
            pairs = [f"{_file(found.item)} like {found.name} (correlation {found.correlation:.3f})" for found in seen]
            logger.warning(
                "%s has %d of %d images that are nearly training images: copies, or neighbours in a film (then "
                "--folds with --blocks true keeps them apart); what is measured on them looks better than it is: %s",
                option, len(seen), len(measured), listed(pairs, _FEW),
            )  # fmt: skip


class LabelSummary(NamedTuple):
    """What counts of a label: whether anybody annotated it, whether it marks an object, the one object that is all of
    it (0: none is), whether an object of it looks like a background, whether most of its numbers lie in several places,
    and the number that may be -1, saved in a type without sign (0: none is)."""

    annotated: bool
    marks: bool
    only: int
    swapped: bool
    scattered: bool
    unsigned: int


def summary_of(label: np.ndarray) -> LabelSummary:
    """Of an instance map (x, y, ...): 0 background, 1, 2, ... objects, -1 not annotated."""
    low, high = int(label.min()), int(label.max())
    return LabelSummary(
        annotated=high != IGNORE,
        marks=high > 0,
        only=low if 0 < low == high else 0,
        swapped=label.ndim == 2 and _looks_swapped(label),
        scattered=high > 0 and _is_scattered(label),
        unsigned=high if high in _UNSIGNED and 0 < int(label.max(where=label < high, initial=0)) < high // 2 else 0,
    )


def require_objects(labels: Sequence[Any], files: Sequence[str]) -> None:
    """Check that the labels that train, instance maps (1, x, y, ...), mark something; say when they look inverted.

    Raises:
        ValueError: as :func:`require_learnable`.
    """
    summaries = [summary_of(np.asarray(label)[0]) for label in labels]
    require_learnable(summaries, files, "training label")
    if swapped := swapped_labels(summaries, files):
        logger.warning(
            "are objects and background swapped in the labels? In %d of %d one object reaches all four sides and "
            "lies between others, as a background does; objects must be above 0, background 0: %s",
            len(swapped), len(summaries), listed(swapped, _FEW),
        )  # fmt: skip
    if scattered := scattered_labels(summaries, files):
        logger.warning(
            "do the labels hold gray values or classes instead of numbers? In %d of %d most numbers lie in several "
            "places, each of which should be an object of its own; %s: %s",
            len(scattered), len(summaries), HOW_SCATTERED, listed(scattered, _FEW),
        )  # fmt: skip
    if unsigned := unsigned_labels(summaries, files):
        logger.warning("%s: %s", HOW_UNSIGNED, listed(unsigned, _FEW))


def require_learnable(summaries: Sequence[LabelSummary], files: Sequence[str], kind: str = "label") -> None:
    """Check that there is something to learn from labels.

    Raises:
        ValueError: when none of them has an object, or none anything else.
    """
    if not summaries:
        return
    several = len(summaries) > 1
    of = f"{'none of the' if several else 'not one of'} {len(summaries)} {kind}s"
    if not any(each.annotated for each in summaries):
        raise ValueError(
            f"{of} has an annotated pixel, all are {IGNORE} (not annotated), as in {files[0]}: annotate some"
        )
    if not any(each.marks for each in summaries):
        raise ValueError(
            f"{of} marks an object, all their pixels are 0 (background) or not annotated, as in {files[0]}: objects "
            "are 1, 2, 3, ..., or all of one value such as 255"
        )
    if all(each.only for each in summaries):
        raise ValueError(
            f"{of} has background, all their pixels are {summaries[0].only}, as in {files[0]}: background is 0"
        )


def swapped_labels(summaries: Sequence[LabelSummary], files: Sequence[str]) -> list[str]:
    """The files of labels in which objects and background may be swapped; none unless most of them look so.

    They are recognised by their shape: in most of them, one object is nearly all of what is marked,
    reaches all four sides and lies between at least three other regions. A web of membranes that shall be the object
    looks so, too, and confluent cells of one value, so that this is but a warning.
    """
    return _if_most(summaries, [file for each, file in zip(summaries, files, strict=True) if each.swapped])


def scattered_labels(summaries: Sequence[LabelSummary], files: Sequence[str]) -> list[str]:
    """The files of labels whose numbers may be gray values or classes; none unless most of them look so."""
    return _if_most(summaries, [file for each, file in zip(summaries, files, strict=True) if each.scattered])


def unsigned_labels(summaries: Sequence[LabelSummary], files: Sequence[str]) -> list[str]:
    """The files of labels with a number that may have been -1, and which it is."""
    return [f"{file} ({each.unsigned})" for each, file in zip(summaries, files, strict=True) if each.unsigned]


def _if_most(summaries: Sequence[LabelSummary], files: list[str]) -> list[str]:
    return files if 2 * len(files) > sum(each.marks for each in summaries) else []


def warn_of_empty_validation(validated: Sequence[Any]) -> None:
    """Say it when no image for validation has an object ("annotation" of an item is its instance map)."""
    items = (validated[place] for place in range(len(validated)))  # an empty CacheDataset cannot be iterated
    labels = [item["annotation"] for item in items if "annotation" in item]
    if labels and not any(bool((np.asarray(label) > 0).any()) for label in labels):
        logger.warning(
            "none of the %d validation images has an object, so they cannot choose the best network: name others by "
            "--validation \"['name', ...]\"",
            len(labels),
        )


def _looks_swapped(label: np.ndarray) -> bool:
    numbers, areas = np.unique(label[label > 0], return_counts=True)
    if areas.size == 0 or areas.max() < 0.8 * areas.sum():
        return False
    region = label == numbers[areas.argmax()]
    if not all(side.any() for side in (region[0], region[-1], region[:, 0], region[:, -1])):
        return False
    return int(ndimage.label(~region)[1]) >= _OTHERS


def _is_scattered(label: np.ndarray) -> bool:
    """Whether more than half of several numbers lie in several places: hardly ever an object does."""
    regions = regions_of_value(np.maximum(label, 0), background=0, connectivity=label.ndim)
    number_of = np.zeros(int(regions.max()) + 1, label.dtype)
    number_of[regions.ravel()] = label.ravel()
    places = np.unique(number_of[1:], return_counts=True)[1]
    return places.size > 1 and bool(2 * np.count_nonzero(places > 1) > places.size)


def _copies(first: str, second: str) -> bool:
    paths = Path(first), Path(second)
    return all(path.is_file() for path in paths) and filecmp.cmp(*paths, shallow=False)


def _file(item: Item) -> str:
    if "slices" in item:
        return f"{item['image']} slices {item['slices'][0]} to {item['slices'][1] - 1}"
    return item["image"] if item.get("slice") is None else f"{item['image']} slice {item['slice']}"
