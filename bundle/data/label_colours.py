"""Labels in colour, in which cells stand out from black."""

from __future__ import annotations

import torch
from skimage.measure import label

from transforms.labels.instances import IGNORE

#: what a colour may mean: foreground, whichever it is; or a cell for each connected region of it
COLOURS_ARE = ("foreground", "cells")


def packed(colours: torch.Tensor) -> torch.Tensor:
    """(3, x, y[, slices]) red, green and blue of 0..255 as 0xRRGGBB, (1, x, y[, slices])."""
    parts = colours.new_tensor([1 << 16, 1 << 8, 1]).reshape(3, *[1] * (colours.ndim - 1))
    return (colours * parts).sum(0, keepdim=True)


def cells_of_colours(array: torch.Tensor, mean: str) -> torch.Tensor:
    """A label map from a label in colour, or in gray, where 0 is background in any case.

    Args:
        array: (C, x, y[, slices]); the first three channels are colours, and :data:`transforms.IGNORE` stays.
        mean: of :data:`COLOURS_ARE`.

    Returns:
        (1, x, y[, slices]) of the same type: 0 and 1, or 0 and the numbers of the connected regions of one colour,
        which touch at their edges.
    """
    values = packed(array[:3]) if array.shape[0] >= 3 else array[:1]
    if mean == "foreground":
        return values.clamp(IGNORE, 1)
    numbers, known = values.clone(), values > 0
    regions = torch.from_numpy(label(values[0].clamp(min=0).numpy(), background=0, connectivity=1))[None]
    numbers[known] = regions.to(values.dtype)[known]
    return numbers
