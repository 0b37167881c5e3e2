"""Images unlike the others: in brightness, contrast, sharpness, or the size of their objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.data.doctor.finding import Finding, are
from bundle.data.doctor.sheet import Sheet

#: images that must be there to know what is usual
_FEWEST = 6
#: robust standard deviations (1.4826 times the median distance to the median) from which one is unlike
_FAR = 6.0
#: below which a spread is taken for this: a quarter of the usual contrast; 15 % up or down
_LEAST_GRAY, _LEAST_LOG = 0.25, 0.15
_WORDS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("of less contrast", "of more contrast"),
    "sharpness": ("less sharp", "sharper or noisier"),
    "size of objects": ("with smaller objects", "with larger objects"),
}


def oddness(sheets: Sequence[Sheet]) -> dict[str, np.ndarray]:
    """Feature -> how many robust standard deviations each image lies from the median; 0 where it has no value."""
    if len(sheets) < _FEWEST:
        return {name: np.zeros(len(sheets)) for name in _WORDS}
    contrast = np.array([sheet.deviation for sheet in sheets])
    sizes = [float(np.median(sheet.diameters)) if sheet.objects else np.nan for sheet in sheets]
    with np.errstate(divide="ignore"):
        logs = {
            "contrast": np.log(contrast),
            "sharpness": np.log([sheet.sharpness for sheet in sheets]),
            "size of objects": np.log(sizes),
        }
    gray = np.array([sheet.mean for sheet in sheets])
    found = {"brightness": _from_usual(gray, _LEAST_GRAY * float(np.median(contrast)))}
    return found | {name: _from_usual(values, _LEAST_LOG) for name, values in logs.items()}


def unlike_others(sheets: Sequence[Sheet]) -> list[Finding]:
    """Single images far from the rest; many of them are no outliers, but kinds of images."""
    scores = oddness(sheets)
    told = {}
    for number, sheet in enumerate(sheets):
        odd = [_WORDS[name][int(score[number] > 0)] for name, score in scores.items() if abs(score[number]) > _FAR]
        if odd:
            told[sheet.name] = " and ".join(odd)
    if not told:
        return []
    listed = "; ".join(f"{name} is {words}" for name, words in list(told.items())[:4])
    more = f" and {len(told) - 4} more" if len(told) > 4 else ""
    many = len(told) > max(2, 0.1 * len(sheets))
    advice = (
        "These may be several kinds of images: have enough of each, in training and in validation."
        if many
        else "Look for blur, another staining or magnification, or a label of another image."
    )
    text = f"{len(told)} of {len(sheets)} images {are(len(told))} unlike the others: {listed}{more}. {advice}"
    return [Finding("note" if many else "warning", "Unlike the others", text, tuple(told))]


def _from_usual(values: np.ndarray, least: float) -> np.ndarray:
    known = values[np.isfinite(values)]
    if not len(known):
        return np.zeros(len(values))
    middle = float(np.median(known))
    spread = max(1.4826 * float(np.median(np.abs(known - middle))), least)
    score = (values - middle) / spread
    return np.asarray(np.where(np.isnan(score), 0, np.clip(score, -99, 99)))
