"""Gray values that are not what they seem: white stored as 0, one pixel far beyond all others."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

logger = logging.getLogger(__name__)

#: in a MetaTensor's ``meta``: the value that is black, where a file stores white as 0
WHITE_IS_ZERO = "black_value"
#: distance to the median, in units of the spread of the pixels, from which a pixel is not of the image
_FAR = 1000

_SAID: set[Path] = set()


def as_shown(path: str, image: MetaTensor) -> MetaTensor:
    """An image as viewers show it: inverted, where its TIFF says that 0 is white; said once a folder."""
    black = image.meta.get(WHITE_IS_ZERO)
    if black is None:
        return image
    folder = Path(path).parent
    if folder not in _SAID:
        _SAID.add(folder)
        logger.warning(
            "%s stores white as 0 (miniswhite): images of this kind are read inverted, as viewers show them", path
        )
    shown: MetaTensor = black - image
    return shown


def warn_of_extremes(path: str, image: torch.Tensor) -> None:
    """Say when a few pixels of a channel lie so far off that all others get nearly one value by standardisation."""
    for number, channel in enumerate(np.asarray(image, np.float32)):
        mean, deviation = float(channel.mean(dtype=np.float64)), float(channel.std(dtype=np.float64))
        if max(float(channel.max()) - mean, mean - float(channel.min())) < 30 * deviation:
            continue  # for less than a pixel in 900, and quick to know
        low, middle, high = np.quantile(channel, [0.01, 0.5, 0.99])
        distance = np.abs(channel - middle)
        spread = (high - low) / 4.65  # of a normal distribution, its standard deviation
        if spread > 0 and distance.max() > _FAR * spread:
            where = (number, *(int(i) for i in np.unravel_index(int(distance.argmax()), channel.shape)))
            logger.warning(
                "%s: its pixel at %s (channel, x, y) is %g, while 98 %% of them are %g to %g: standardisation makes "
                "these nearly one value; correct it, or train and segment with --standardize#robust true",
                path, where, float(channel[where[1:]]), float(low), float(high),
            )  # fmt: skip
