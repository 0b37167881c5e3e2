"""One thing that was found in a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: a training would be senseless; look at it; good to know
LEVELS = ("stop", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do.

    Attributes:
        level: one of :data:`LEVELS`.
        title: a few words.
        text: a sentence or two, the last one says what to do.
        images: names of the images that it is about; none where it is about all.
        repair: what would make the labels of these images fit, for a picture: "turn", a number of
            :func:`bundle.data.same_image.oriented`; or "shift", px along x and y.
    """

    level: str
    title: str
    text: str
    images: tuple[str, ...] = ()
    repair: Mapping[str, Any] = field(default_factory=dict)


def are(number: int) -> str:
    """
    >>> are(1), are(2)
    ('is', 'are')
    """
    return "is" if number == 1 else "are"


def of_all(names: Sequence[str], number: int) -> str:
    """
    >>> of_all(["a", "b"], 2), of_all(["a"], 2), of_all(["a"], 1)
    ('all 2 images', '1 of 2 images', 'the image')
    """
    if number == 1:
        return "the image"
    return f"all {number} images" if len(names) == number else f"{len(names)} of {number} images"
