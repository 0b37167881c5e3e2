"""Labels that do not lie on their images: a few pixels beside them, turned or mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.console import listed
from bundle.data.doctor.edges import REACH
from bundle.data.doctor.finding import Finding, of_all
from bundle.data.doctor.sheet import Sheet

#: px from which a shift is told; outlines drawn by hand are not better
_LEAST = 3
#: standard deviations of the gradient along the moved outlines, at least; share of it that the shift gains
_STRENGTH, _GAIN = 0.3, 0.3
#: images, or else quarters of them, that must be there, and share of them that gain
_IMAGES, _QUARTERS, _AGREE = 5, 3, 0.85
#: for a single image among others
_STRENGTH_OF_ONE, _GAIN_OF_ONE = 0.5, 0.5
#: px that the best shift of three of four of its quarters may be off
_NEAR, _THREE_OF_FOUR = 2, 0.75

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


def shifted_labels(sheets: Sequence[Sheet]) -> list[Finding]:
    """All labels shifted alike, else single ones; only where nearly every quarter of the images says so."""
    known = [(sheet, sheet.edges) for sheet in sheets if sheet.edges is not None and len(sheet.edges.moved)]
    scales = {edges.scale for _, edges in known}
    if len(scales) == 1:
        (scale,) = scales
        maps = [edges.moved for _, edges in known]
        # of few images their quarters are the witnesses
        witnesses = np.stack([each.mean(axis=0) for each in maps]) if len(maps) >= _IMAGES else np.concatenate(maps)
        shift = _shift(witnesses, scale, _STRENGTH, _GAIN)
        if shift is not None:
            return [_shifted([sheet.name for sheet, _ in known], shift, len(sheets))]
    found: dict[tuple[int, int], list[str]] = {}
    for sheet, edges in known:
        shift = _shift(edges.moved, edges.scale, _STRENGTH_OF_ONE, _GAIN_OF_ONE)
        if shift is not None and _each_says_so(edges.moved, shift, edges.scale):
            found.setdefault(shift, []).append(sheet.name)
    return [_shifted(names, shift, len(sheets)) for shift, names in found.items()]


def _shift(witnesses: np.ndarray, scale: int, strength: float, gain: float) -> tuple[int, int] | None:
    """px along x and y that the labels must be moved by; None where that is not clear."""
    if len(witnesses) < _QUARTERS:
        return None
    mean = witnesses.mean(axis=0)
    place = np.unravel_index(int(mean.argmax()), mean.shape)
    x, y = (int(each) - REACH for each in place)
    above = float(mean[place] - np.median(mean))
    gained = float(mean[place] - mean[REACH, REACH])
    agree = (witnesses[:, place[0], place[1]] > witnesses[:, REACH, REACH]).mean()
    if max(abs(x), abs(y)) * scale < _LEAST or max(abs(x), abs(y)) == REACH:
        return None
    if above < strength or gained < gain * above or agree < _AGREE:
        return None
    return x * scale, y * scale


def _each_says_so(quarters: np.ndarray, shift: tuple[int, int], scale: int) -> bool:
    width = quarters.shape[-1]
    best = np.array([divmod(int(each.argmax()), width) for each in quarters]) - REACH
    near = np.abs(best - np.array(shift) / scale).max(axis=1) <= _NEAR
    return bool(near.mean() >= _THREE_OF_FOUR)


def _shifted(names: Sequence[str], shift: tuple[int, int], of: int) -> Finding:
    ways = (("left", "right"), ("up", "down"))
    words = [f"{abs(px)} px {way[px > 0]}" for px, way in zip(shift, ways, strict=True) if px]
    text = (
        f"The labels of {of_all(names, of)} ({listed(names)}) fit better when moved by about {' and '.join(words)}. "
        "Look at the pictures, and export the labels again without cropping or padding."
    )
    return Finding("warning", "Labels shifted", text, tuple(names), {"shift": shift})


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
        return [_turned([sheet.name for sheet, _ in known], common, len(known))]
    found = []
    for turn in range(1, 8):
        names = [
            sheet.name
            for (sheet, _), score, own in zip(known, scores, best, strict=True)
            if own == turn and score[turn] >= _CLEAR and score[0] <= _LEFT * score[turn]
        ]
        if names:
            found.append(_turned(names, turn, len(sheets)))
    return found


def _turned(names: Sequence[str], turn: int, of: int) -> Finding:
    text = (
        f"The labels of {of_all(names, of)} ({listed(names)}) fit only when {TURNS[turn]}. Save them in the "
        "orientation of the images; programs differ in whether rows or columns come first."
    )
    return Finding("warning", "Labels turned", text, tuple(names), {"turn": turn})
