"""Labels without objects, labels that look inverted, and hardly any objects at all."""

from __future__ import annotations

from collections.abc import Sequence

from bundle.data.checks import require_learnable, swapped_labels
from bundle.data.doctor.finding import Finding, counted, named, of_all
from bundle.data.doctor.sheet import Sheet

__all__ = ["label_findings"]

#: share of images without objects from which it is odd
_MANY = 0.5
#: objects that docs/your_images.md asks for at least
_FEW_OBJECTS = 20


def label_findings(sheets: Sequence[Sheet]) -> list[Finding]:
    """What each label says by itself."""
    files = [sheet.item["label"] for sheet in sheets]
    try:
        require_learnable([sheet.summary for sheet in sheets], files)
    except ValueError as error:
        text = f"{str(error)[0].upper()}{str(error)[1:]}."
        return [Finding("stop", "Nothing to learn", text, tuple(sheet.name for sheet in sheets))]
    return [*_empty(sheets), *_swapped(sheets), *_few(sheets)]


def _empty(sheets: Sequence[Sheet]) -> list[Finding]:
    empty = [sheet.name for sheet in sheets if not sheet.objects]
    if not empty:
        return []
    text = (
        f"No object is in {of_all(empty, len(sheets))} ({named(empty)}). That is right where there is nothing to see; "
        "an image that nobody annotated must go, or its pixels be -1."
    )
    return [Finding("warning" if len(empty) > _MANY * len(sheets) else "note", "Empty labels", text, tuple(empty))]


def _swapped(sheets: Sequence[Sheet]) -> list[Finding]:
    swapped = swapped_labels([sheet.summary for sheet in sheets], [sheet.name for sheet in sheets])
    if not swapped:
        return []
    text = (
        f"In {of_all(swapped, len(sheets))} one object reaches all four sides and lies between others, as a background "
        f"does ({named(swapped)}). Objects must be above 0 and background 0: invert the labels."
    )
    return [Finding("warning", "Objects and background swapped?", text, tuple(swapped))]


def _few(sheets: Sequence[Sheet]) -> list[Finding]:
    total = sum(sheet.objects for sheet in sheets)
    if not 0 < total < _FEW_OBJECTS:
        return []
    text = f"There are {counted(total, 'object')} in all. Start with 100 or more, in images that differ."
    return [Finding("note", "Few objects", text)]
