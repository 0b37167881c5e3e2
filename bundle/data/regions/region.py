"""One region of an image, as programs for drawing store it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: rings (N, 2) of points (x, y), px: the pixel in column i and row j is the square from (i, j) to (i + 1, j + 1), and
#: belongs to the polygon where its centre is inside an odd number of rings
Polygon = Sequence[np.ndarray]


@dataclass(frozen=True)
class Region:
    """A cell, or what of it is in one slice.

    Attributes:
        name: for messages, and as programs list it.
        polygons: whose pixels it has all; the first ring of each is its outline, the others holes.
        slice: of a stack, from 0; None: where the file says nothing of slices.
        cell: its number in the label map; None: the file gives none.
        kind: name of its class; None: it has none.
        colour: (red, green, blue), 0 .. 255; None: it has none.
    """

    name: str
    polygons: Sequence[Polygon]
    slice: int | None = None
    cell: int | None = None
    kind: str | None = None
    colour: tuple[int, int, int] | None = None
