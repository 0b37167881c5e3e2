"""Labels that fit their images only when turned or mirrored, as when x and y were exchanged on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.data.doctor.finding import Finding, named, of_all
from bundle.data.doctor.sheet import Sheet

__all__ = ["TURNS", "turned_labels"]

#: what each orientation of :func:`bundle.data.same_image.oriented` does
TURNS = (
    *("", "mirrored top to bottom", "mirrored left to right", "turned by 180 degrees"),
    *("with x and y exchanged", "turned by 90 degrees", "turned by 90 degrees", "with x and y exchanged the other way"),
)
#: standard deviations of the image's gradient along the outlines that fit, at least, of one image and of most
_CLEAR, _CLEAR_TOGETHER = 0.4, 0.25
#: what the label as it is may have of that, at most
_LEFT = 0.4
_MOST = 0.8


def turned_labels(sheets: Sequence[Sheet]) -> list[Finding]:
    """Square images whose outlines lie on edges of the image in another orientation, and not as they are.

    Where the labels are as they should be, outlines turned anyhow lie anywhere.
    """
    known = [(sheet, sheet.edges.turned) for sheet in sheets if sheet.edges is not None]
    if not known:
        return []
    scores = np.nan_to_num(np.stack([turned for _, turned in known]), nan=-1.0)
    best = scores.argmax(axis=1)
    common = int(np.bincount(best, minlength=8).argmax())
    together = scores.mean(axis=0)
    several = len(known) > 2 and (best == common).mean() >= _MOST
    if common and several and together[common] >= _CLEAR_TOGETHER and together[0] <= _LEFT * together[common]:
        return [_finding([sheet.name for sheet, _ in known], common, len(known))]
    found = []
    for turn in range(1, 8):
        names = [
            sheet.name
            for (sheet, _), score, own in zip(known, scores, best, strict=True)
            if own == turn and score[turn] >= _CLEAR and score[0] <= _LEFT * score[turn]
        ]
        if names:
            found.append(_finding(names, turn, len(sheets)))
    return found


def _finding(names: list[str], turn: int, of: int) -> Finding:
    return Finding(
        "warning",
        "Labels turned",
        f"The labels of {of_all(names, of)} ({named(names)}) fit only when {TURNS[turn]}. Save them in the "
        "orientation of the images; programs differ in whether rows or columns come first.",
        tuple(names),
        {"turn": turn},
    )
