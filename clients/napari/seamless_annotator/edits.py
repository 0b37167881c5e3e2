"""Corrections by one line or key: which pixels of the shown plane change, and to which cell numbers.

A line is a sequence of (row, column) in px; it may be bent, and may leave the plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.draw import line as straight_line

from seamless_annotator.numbering import Numbering

Line = Sequence[tuple[float, float]] | np.ndarray


class Edit(NamedTuple):
    """Pixels and their new numbers."""

    rows: np.ndarray
    columns: np.ndarray
    numbers: np.ndarray


def pixels_of_line(plane: np.ndarray, line: Line) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns inside the plane, in the order of the line."""
    points = np.rint(np.asarray(line, float).reshape(-1, 2)).astype(int)
    legs = [straight_line(*start, *end) for start, end in pairwise(points)]
    rows, columns = (np.concatenate([points[:1, axis], *(leg[axis][1:] for leg in legs)]) for axis in (0, 1))
    inside = (rows >= 0) & (rows < plane.shape[0]) & (columns >= 0) & (columns < plane.shape[1])
    return rows[inside], columns[inside]


def merge(plane: np.ndarray, line: Line, numbering: Numbering) -> Edit:
    """All cells that the line touches become the first of them; so does the background between them on the line.

    Raises:
        ValueError: when it touches fewer than two.
    """
    rows, columns = pixels_of_line(plane, line)
    along = plane[rows, columns]
    cells = numbering.class_of(along) > 0
    touched = list(dict.fromkeys(along[cells].tolist()))
    if len(touched) < 2:
        raise ValueError("draw a line from one cell to another to merge them")
    within = np.flatnonzero(cells)
    between = np.zeros(len(along), bool)
    between[within[0] : within[-1]] = True
    between &= along == 0
    parts = [_pixels(plane, number) for number in touched[1:]] + [(rows[between], columns[between])]
    rows, columns = (np.concatenate(axis) for axis in zip(*parts, strict=True))
    return Edit(rows, columns, np.full(len(rows), touched[0], plane.dtype))


def split(plane: np.ndarray, line: Line, numbering: Numbering, used: int) -> Edit:
    """Each cell that the line crosses falls apart along it; its largest part keeps the number.

    Pixels of the line itself go to the nearest part: no gap is left. Parts are joined by edges, not by corners.

    Args:
        used: the largest number of the layer; new parts get higher ones, of the class of their cell.

    Raises:
        ValueError: when no cell falls apart.
    """
    rows, columns = pixels_of_line(plane, line)
    edits = []
    for number in dict.fromkeys(plane[rows, columns].tolist()):
        kind = int(numbering.class_of(np.array(number)))
        if kind <= 0:
            continue
        (top, left), cell = _box(plane, number)
        cut = np.zeros(cell.shape, bool)
        inside = plane[rows, columns] == number
        cut[rows[inside] - top, columns[inside] - left] = True
        pieces = ndimage.label(cell)[0]
        crossed = cell & np.isin(pieces, np.unique(pieces[cut]))
        parts, count = ndimage.label(crossed & ~cut)
        if count < 2 or len(np.unique(pieces[crossed & ~cut])) == count:
            continue  # the line cuts off nothing
        nearest = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
        parts = np.where(crossed, parts[tuple(nearest)], 0)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        table = np.zeros(count + 1, plane.dtype)
        for part in np.argsort(-sizes[1:], kind="stable")[1:] + 1:
            used = numbering.fresh(used, kind)
            table[part] = used
        fresh = table[parts]
        where = np.nonzero(fresh)
        edits.append(Edit(where[0] + top, where[1] + left, fresh[where]))
    if not edits:
        raise ValueError("draw a line through a cell, from outside to outside, to split it")
    return Edit(*(np.concatenate(axis) for axis in zip(*edits, strict=True)))


def delete(plane: np.ndarray, point: tuple[float, float], numbering: Numbering) -> Edit:
    """The cell at a point becomes background; of what nobody annotated, the connected region.

    Raises:
        ValueError: when there is nothing.
    """
    number = _at(plane, point)
    if number == 0:
        raise ValueError("there is no cell under the cursor")
    rows, columns = _pixels(plane, number)
    if numbering.class_of(np.array(number)) < 0:
        (top, left), region = _box(plane, number)
        parts = ndimage.label(region)[0]
        row, column = np.rint(point).astype(int)
        rows, columns = np.nonzero(parts == parts[row - top, column - left])
        rows, columns = rows + top, columns + left
    return Edit(rows, columns, np.zeros(len(rows), plane.dtype))


def give_class(plane: np.ndarray, point: tuple[float, float], kind: int, numbering: Numbering, used: int) -> Edit:
    """The cell at a point, or the region that nobody annotated, becomes a cell of a class.

    Raises:
        ValueError: when there is nothing.
    """
    edit = delete(plane, point, numbering)
    return edit._replace(numbers=np.full_like(edit.numbers, numbering.fresh(used, kind)))


def _at(plane: np.ndarray, point: tuple[float, float]) -> int:
    row, column = (round(float(place)) for place in point)
    inside = 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]
    return int(plane[row, column]) if inside else 0


def _box(plane: np.ndarray, number: int) -> tuple[tuple[int, int], np.ndarray]:
    """The corner of the smallest box around a number, and where in it the number is."""
    found = plane == number
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return (int(rows[0]), int(columns[0])), found[box]


def _pixels(plane: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    (top, left), found = _box(plane, number)
    rows, columns = np.nonzero(found)
    return rows + top, columns + left
