"""Images that are in the data set twice, whatever their names, gray scales and orientations, or nearly."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bundle.console import counted, listed
from bundle.data.doctor.finding import Finding, are
from bundle.data.doctor.sheet import Sheet
from bundle.data.same_image import BETWEEN, most_alike_of


def twins(sheets: Sequence[Sheet], training: Collection[str], measured: Collection[str]) -> list[Finding]:
    """Pairs of the same image, and of nearly the same.

    Neighbours in a film are nearly the same; that matters only where one of them trains and the other one measures.

    Args:
        sheets: of all images.
        training: names of those that train.
        measured: names of those that validate, or are held out.
    """
    known: dict[str, str] = {}
    same: list[tuple[str, str]] = []
    nearly: list[tuple[str, str]] = []
    for sheet in sheets:
        like = most_alike_of(sheet.sketches, known)
        if like is not None:
            (same if like.same else nearly).append((sheet.name, like.name))
        if sheet.sketches:
            known[sheet.name] = BETWEEN.join(each.text() for each in sheet.sketches)
    return [*_same(same), *_nearly(nearly, training, measured)]


def _same(pairs: list[tuple[str, str]]) -> list[Finding]:
    if not pairs:
        return []
    told = listed([f"{one} is {other}" for one, other in pairs])
    text = (
        f"{counted(len(pairs), 'image')} {are(len(pairs))} in the data twice, perhaps in another gray scale or "
        f"orientation: {told}. Remove one of each two."
    )
    return [Finding("warning", "Duplicates", text, _both(pairs))]


def _nearly(pairs: list[tuple[str, str]], training: Collection[str], measured: Collection[str]) -> list[Finding]:
    if not pairs:
        return []
    apart = [
        (one, other)
        for one, other in pairs
        if (one in training and other in measured) or (one in measured and other in training)
    ]
    told = listed([f"{one} like {other}" for one, other in apart or pairs])
    if apart:
        text = (
            f"{counted(len(apart), 'image')} for validation or held out {are(len(apart))} nearly the same as one that "
            f"trains, as neighbours in a film are: {told}. What is measured on them looks better than it is; --folds 3 "
            "--fold 0 --blocks true --validation 0 keeps stretches of a film apart."
        )
        return [Finding("warning", "Near-duplicates", text, _both(apart))]
    text = (
        f"{counted(len(pairs), 'image')} {are(len(pairs))} nearly the same as another, as neighbours in a film are: "
        f"{told}. That adds little; annotate images that differ."
    )
    return [Finding("note", "Near-duplicates", text)]


def _both(pairs: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for pair in pairs for name in pair))
