"""Cells found, missed and invented: what SEG does not tell, which ignores what is found beside the truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bundle.metrics.contingency import contingency


class Detections(NamedTuple):
    """Numbers of cells; those of several images add up.

    Attributes:
        found: reference cells with a result cell of sufficient intersection over union.
        missed: the other reference cells.
        false: result cells that match no reference cell, unless they lie where nobody annotated.
    """

    found: int
    missed: int
    false: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN without any cell."""
        cells = 2 * self.found + self.missed + self.false
        return 2 * self.found / cells if cells else float("nan")


def detections(truth: ArrayLike, result: ArrayLike, min_iou: float = 0.5) -> Detections:
    """Match the cells of one image, one to one.

    Above an intersection over union of one half, no cell can have two partners.

    Args:
        truth: label map: 0 background, 1.. cells, below 0 where nobody annotated.
        result: label map of the same shape. A result cell with more than half of its px where nobody annotated is
            neither right nor false.
        min_iou: intersection over union above which two cells are the same; 0.5 to below 1.

    Raises:
        ValueError: for shapes that differ, labels that are no whole numbers, or ``min_iou`` out of its range.
    """
    if not 0.5 <= min_iou < 1:
        nearest = 0.5 if min_iou < 0.5 else 0.99
        raise ValueError(f"min_iou must be at least 0.5 and below 1 ({nearest} is near), got {min_iou}")
    table = contingency(truth, result)
    labels, others = table.labels[table.one], table.others[table.other]
    area, other_area = table.areas[table.one], table.other_areas[table.other]
    matched = (table.overlap / (area + other_area - table.overlap) > min_iou) & (labels > 0) & (others > 0)
    found = int(matched.sum())
    settled = np.zeros(len(table.others), dtype=bool)
    settled[table.other[matched]] = True
    settled[table.other[(labels < 0) & (2 * table.overlap > other_area)]] = True
    false = int(((table.others > 0) & ~settled).sum())
    return Detections(found, int((table.labels > 0).sum()) - found, false)
