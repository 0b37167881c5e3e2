"""A region of interest: the rectangle of every image, and of its label, that is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import MetaKeys

from bundle.data.errors import ImageError


class Roi(NamedTuple):
    """Left and upper edge, width and height in px, as viewers show images: x to the right, y downwards, from 0."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def of(cls, value: str | Sequence[int] | None) -> Roi | None:
        """From four numbers, or a text such as "0,0,512,512"; None stays None.

        Raises:
            ValueError: for anything else, a negative edge, or a side below 1 px.
        """
        if value is None:
            return None
        parts: Sequence[str | int] = value.split(",") if isinstance(value, str) else value
        try:
            numbers = [int(part) for part in parts if int(part) == float(part)]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != 4 or len(parts) != 4 or min(numbers[:2]) < 0 or min(numbers[2:]) < 1:
            raise ValueError(
                f"roi must be x,y,width,height in whole px, x and y from 0, width and height from 1, got {value!r}"
            )
        return cls(*numbers)

    def cut(self, path: str, array: MetaTensor) -> MetaTensor:
        """The region of (C, x, y[, slices]) with its affine moved there.

        Raises:
            ImageError: when it does not lie within the image.
        """
        wide, high = array.shape[1:3]
        if self.x + self.width > wide or self.y + self.height > high:
            raise ImageError(
                path,
                f"it is {wide} x {high} px, the region of interest ends at {self.x + self.width} x "
                f"{self.y + self.height} px: choose another --roi x,y,width,height",
            )
        pixels = array.as_tensor()[:, self.x : self.x + self.width, self.y : self.y + self.height]
        return part_at(self[:2], pixels, array)


def part_at(start: Sequence[int], pixels: torch.Tensor, array: MetaTensor) -> MetaTensor:
    """A copy of some pixels of an image, (C, x, y[, slices]), with its meta data and the affine moved to ``start``."""
    part = MetaTensor(pixels.clone(), meta=dict(array.meta))
    affine = array.affine.clone()
    for axis, first in enumerate(start):
        affine[:-1, -1] += first * affine[:-1, axis]
    part.affine = affine
    part.meta[MetaKeys.SPATIAL_SHAPE] = np.array(pixels.shape[1:])
    return part
