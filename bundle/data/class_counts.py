"""How often each class occurs in the labels of a data set: weights for all of it, and classes that are not there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bundle.console import counted
from bundle.data.classes import Classes
from bundle.data.item import Item
from transforms.labels.classes import CLASS_OF
from transforms.labels.instances import IGNORE, class_array
from transforms.labels.weight_map import balanced_weights

logger = logging.getLogger(__name__)

_WAYS = ("tile", "dataset", "sqrt", "equal")


def class_pixels(items: Iterable[Any], count: int) -> np.ndarray:
    """Annotated pixels of each of ``count`` classes, int64 (count,).

    Items have an instance map under "label" and its table under "class_of", which may be missing.
    """
    total = np.zeros(count, np.int64)
    for item in items:
        label = np.asarray(item["label"])
        total += np.bincount(class_array(label, item.get(CLASS_OF))[label != IGNORE], minlength=count)[:count]
    return total


def class_weights(
    way: str | Sequence[float],
    items: Sequence[Item],
    transforms: Sequence[Callable[[Any], Any]],
    classes: Classes,
) -> list[float] | None:
    """w_c of every class, for :class:`transforms.WeightMap`.

    Args:
        way: "tile": counted in every tile anew; "dataset": counted once over all ``items``, as in the paper; "sqrt":
            their square roots, half-way to equal weights on a logarithmic scale, with mean 1 over the pixels;
            "equal": 1 for each class; or one number of at least 0 for each class.
        items: datalist that trains; read for "dataset" and "sqrt" only.
        transforms: from its paths to instance maps with their tables.
        classes: of the data.

    Returns:
        None for "tile".

    Raises:
        ValueError: for another ``way``, or numbers that are not one for each class.
    """
    if isinstance(way, str):
        if way not in _WAYS:
            raise ValueError(f"class_weights must be {', '.join(_WAYS)} or one number for each class, got {way!r}")
        if way == "tile":
            return None
        if way == "equal":
            return [1.0] * len(classes)
        counts = class_pixels((_through(item, transforms) for item in items), len(classes))
        weights = balanced_weights(counts)
        if way == "sqrt" and counts.any():
            roots = np.sqrt(weights)
            weights = list(map(float, roots * counts.sum() / (roots @ counts)))
        told = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(classes.names, weights, strict=True))
        over = counted(len(items), "image")
        logger.info("weight of a pixel in the loss: %s (class_weights %s, counted over %s)", told, way, over)
        return weights
    numbers = [float(weight) for weight in way]
    if len(numbers) != len(classes) or not min(numbers) >= 0:
        raise ValueError(
            f"class_weights must be {len(classes)} numbers of at least 0, of {', '.join(classes.names)}, got {way}"
        )
    return numbers


def warn_of_absent_classes(classes: Classes, training: Sequence[Any], validation: Iterable[Any]) -> None:
    """Say which classes no training image has, and which of them are validated all the same.

    Items to train on have instance maps and tables, those to validate the classes of :class:`transforms.KeepClassesd`.
    """
    if classes.binary or not training:
        return
    counts = class_pixels(training, len(classes))
    absent = [number for number in range(len(classes)) if not counts[number]]
    measured = (
        {int(k) for item in validation for k in np.unique(np.asarray(item["annotated_classes"]))} if absent else ()
    )
    for number in absent:
        if number in measured:
            logger.warning(
                "class %r occurs in validation images only, where it is measured but never learned: choose what "
                "validates by --validation \"['name', ...]\"", classes.names[number],
            )  # fmt: skip
        else:
            logger.warning("class %r occurs in no training image: the network cannot learn it", classes.names[number])


def _through(item: Any, transforms: Sequence[Callable[[Any], Any]]) -> Any:
    for transform in transforms:
        item = transform(item)
    return item
