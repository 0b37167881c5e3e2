"""Labels without objects, labels that look inverted or hold no numbers of objects, and hardly any objects at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.console import counted, listed
from bundle.data.checks import (
    HOW_SCATTERED,
    HOW_UNSIGNED,
    require_learnable,
    scattered_labels,
    swapped_labels,
    unsigned_labels,
)
from bundle.data.doctor.finding import Finding, are, of_all
from bundle.data.doctor.sheet import Sheet

#: share of images without objects from which it is odd
_MANY = 0.5
#: objects that docs/your_images.md asks for at least, and images
_FEW_OBJECTS, _FEW_IMAGES = 20, 5
#: px of an object that cannot be recognised
_SPECK = 5


def label_findings(sheets: Sequence[Sheet], of_pixels: bool = False, images: int | None = None) -> list[Finding]:
    """What each label says by itself, and how much there is in all.

    Args:
        sheets: of all images that can be used.
        of_pixels: labels tell classes of pixels, whose regions have no numbers.
        images: of the folder; None: as many as there are sheets. Where some cannot be used, their objects are unknown.
    """
    if nothing := nothing_to_learn(sheets):
        return nothing
    numbered = [] if of_pixels else [*_not_numbers(sheets), *_none_touching(sheets)]
    few = _few(sheets, len(sheets) if images is None else images)
    return [*_empty(sheets), *_swapped(sheets), *few, *numbered]


def nothing_to_learn(sheets: Sequence[Sheet], kind: str = "label") -> list[Finding]:
    """Why a training would refuse these labels together, which are of a ``kind``."""
    try:
        require_learnable([sheet.summary for sheet in sheets], [sheet.item["label"] for sheet in sheets], kind)
    except ValueError as error:
        text = f"{str(error)[0].upper()}{str(error)[1:]}."
        return [Finding("stop", "Nothing to learn", text, tuple(sheet.name for sheet in sheets))]
    return []


def _empty(sheets: Sequence[Sheet]) -> list[Finding]:
    empty = [sheet.name for sheet in sheets if not sheet.objects]
    if not empty:
        return []
    text = (
        f"No object is in {of_all(empty, len(sheets))} ({listed(empty)}). That is right where there is nothing to see; "
        "an image that nobody annotated must go, or its pixels be -1."
    )
    return [Finding("warning" if len(empty) > _MANY * len(sheets) else "note", "Empty labels", text, tuple(empty))]


def _swapped(sheets: Sequence[Sheet]) -> list[Finding]:
    swapped = swapped_labels([sheet.summary for sheet in sheets], [sheet.name for sheet in sheets])
    if not swapped:
        return []
    text = (
        f"In {of_all(swapped, len(sheets))} one object reaches all four sides and lies between others, as a background "
        f"does ({listed(swapped)}). Objects must be above 0 and background 0: invert the labels."
    )
    return [Finding("warning", "Objects and background swapped", text, tuple(swapped))]


def _not_numbers(sheets: Sequence[Sheet]) -> list[Finding]:
    summaries, names = [sheet.summary for sheet in sheets], [sheet.name for sheet in sheets]
    found = []
    if scattered := scattered_labels(summaries, names):
        text = (
            f"In {of_all(scattered, len(sheets))} most numbers lie in several places ({listed(scattered)}), as gray "
            f"values and classes do: {HOW_SCATTERED}."
        )
        found.append(Finding("warning", "Numbers that are no objects", text, tuple(scattered)))
    if unsigned := unsigned_labels(summaries, names):
        marked = tuple(sheet.name for sheet in sheets if sheet.summary.unsigned)
        text = f"{HOW_UNSIGNED[0].upper()}{HOW_UNSIGNED[1:]}: {listed(unsigned)}."
        found.append(Finding("warning", "Not annotated, or a cell", text, marked))
    areas = np.concatenate([sheet.areas for sheet in sheets])
    if np.median(areas) < _SPECK:
        text = (
            f"Half of the {counted(areas.size, 'object')} have fewer than {_SPECK} px, as points have, and the many "
            "colours of soft edges: fill the area of each object, and save labels without smoothing."
        )
        found.append(Finding("warning", "Objects of few pixels", text))
    return found


def _few(sheets: Sequence[Sheet], images: int) -> list[Finding]:
    total = sum(sheet.objects for sheet in sheets)
    if 0 < total < _FEW_OBJECTS and images == len(sheets):
        text = f"There are {counted(total, 'object')} in all. Start with 100 or more, in images that differ."
        return [Finding("note", "Few objects", text)]
    if images < _FEW_IMAGES:
        text = (
            f"There {are(images)} {counted(images, 'image')}. A training runs, but what it learns holds for "
            f"images like {'this one' if images == 1 else 'these'} only: annotate {_FEW_IMAGES} to 20 that differ."
        )
        return [Finding("note", "Few images", text)]
    return []


def _none_touching(sheets: Sequence[Sheet]) -> list[Finding]:
    if sum(sheet.objects for sheet in sheets) < _FEW_OBJECTS or any(sheet.touching for sheet in sheets):
        return []
    text = (
        "No object touches another. Where none do in the images, that is right. But if a label has one value for all "
        "objects, those that touch count as one: give each object its own number, or leave a gap of 1 px between them."
    )
    return [Finding("note", "No touching objects", text)]
