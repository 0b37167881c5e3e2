"""Tables of what is measured of cells: one of each image, and one of all images of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bundle.atomic import csv_text, write_csv
from bundle.cells import measure
from bundle.data.item import Part
from bundle.data.load_slice import gray_values
from bundle.data.stated_channels import stated_channels
from bundle.output.growing_table import GrowingTable
from bundle.output.tables import with_classes

__all__ = ["CellTables", "measured_cells"]

#: significant digits of a fraction
_DIGITS = 6


def measured_cells(
    source: Path,
    index: Part,
    cells: np.ndarray,
    probability: np.ndarray,
    class_of: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
    volume: bool = False,
) -> dict[str, np.ndarray]:
    """:func:`bundle.cells.measure` with the gray values that a file has, in each of its channels.

    Args:
        source: file of the image.
        index: slice of it; None: all of it.
        cells: (x, y[, slices]) 0 background, 1 .. N cells.
        probability: (1, x, y[, slices]) of "cell", or (K, ...) of K classes.
        class_of: (N + 1,), class of each cell; None: there is one kind.
        spacing: µm along each axis.
        volume: (x, y, slices) is one volume.
    """
    image = gray_values(str(source), index).numpy()
    names = stated_channels(source).names or ()
    return measure(cells, image.reshape(len(image), *cells.shape), probability, names, spacing, volume, class_of)


class CellTables:
    """Writes ``<stem>_cells.csv`` of each image, and ``cells.csv`` with the rows of all of them.

    Args:
        folder: of ``cells.csv``; the first image of a run begins it anew.
    """

    def __init__(self, folder: Path) -> None:
        self._all = GrowingTable(folder / "cells.csv")

    def write(
        self, base: Path, file: str, table: dict[str, np.ndarray], names: Sequence[str], class_of: np.ndarray | None
    ) -> str:
        """Write the table of an image.

        Args:
            base: path of its results without their endings.
            file: name of the image in ``cells.csv``.
            table: of :func:`measured_cells`.
            names, class_of: of the classes, see :func:`bundle.output.tables.with_classes`.

        Returns:
            the path.
        """
        columns = {
            name: [csv_text(cell, _DIGITS) for cell in column.tolist()]
            for name, column in with_classes(table, names, class_of).items()
        }
        path = write_csv(base.with_name(f"{base.name}_cells.csv"), columns, zip(*columns.values(), strict=True))
        count = len(columns["instance"])
        if "area_px" in columns and "slice" not in columns:  # images and stacks share a table: the former are slice 0
            before = list(columns).index("y_px") + 1
            columns = dict([*list(columns.items())[:before], ("slice", [0] * count), *list(columns.items())[before:]])
        every = {"file": [file] * count, **columns}
        self._all.add(list(every), zip(*every.values(), strict=True))
        return str(path)
