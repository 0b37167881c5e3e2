"""Labels that lie beside their images by a few pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.data.doctor.edges import REACH
from bundle.data.doctor.finding import Finding, named, of_all
from bundle.data.doctor.sheet import Sheet

__all__ = ["shifted_labels"]

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
            return [_finding([sheet.name for sheet, _ in known], shift, len(sheets))]
    found: dict[tuple[int, int], list[str]] = {}
    for sheet, edges in known:
        shift = _shift(edges.moved, edges.scale, _STRENGTH_OF_ONE, _GAIN_OF_ONE)
        if shift is not None and _each_says_so(edges.moved, shift, edges.scale):
            found.setdefault(shift, []).append(sheet.name)
    return [_finding(names, shift, len(sheets)) for shift, names in found.items()]


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


def _finding(names: list[str], shift: tuple[int, int], of: int) -> Finding:
    words = [
        f"{abs(px)} px {way[px > 0]}" for px, way in zip(shift, (("left", "right"), ("up", "down")), strict=True) if px
    ]
    return Finding(
        "warning",
        "Labels shifted",
        f"The labels of {of_all(names, of)} ({named(names)}) fit better when moved by about {' and '.join(words)}. "
        "Look at the pictures, and export the labels again without cropping or padding.",
        tuple(names),
        {"shift": shift},
    )
