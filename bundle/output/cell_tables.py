"""Tables of what is measured of cells: one of each image, and one of all images of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bundle.atomic import csv_text, write_csv
from bundle.cells import measure
from bundle.data.load_slice import gray_values
from bundle.data.stated_channels import stated_channels
from bundle.output.growing_table import GrowingTable
from bundle.output.segmented import Segmented

#: significant digits of a fraction
_DIGITS = 6


class CellTables:
    """Writes ``<stem>_cells.csv`` of each image, and ``cells.csv`` with the rows of all of them.

    Args:
        folder: of ``cells.csv``; the first image of a run begins it anew.
    """

    def __init__(self, folder: Path) -> None:
        self._all = GrowingTable(folder / "cells.csv")

    def write(self, base: Path, found: Segmented) -> tuple[str, dict[str, np.ndarray]]:
        """Measure the cells of an image, by the gray values of its file, and write their table.

        Args:
            base: path of its results without their endings.
            found: the image.

        Returns:
            the path, and the columns of :func:`bundle.cells.measure`.
        """
        image = gray_values(str(found.path), found.index).numpy().reshape(-1, *found.cells.shape)
        channels, spacing = stated_channels(found.path).names or (), found.spacing if found.volume else found.sides
        measured = measure(found.cells, image, found.probability, channels, spacing, found.volume, found.class_of)
        table = measured
        if found.class_of is not None:  # stands behind the number
            kinds = np.array(found.names, object)[found.class_of[measured["instance"]]]
            table = {"instance": measured["instance"], "class": kinds, **measured}
        columns = {name: [csv_text(cell, _DIGITS) for cell in column.tolist()] for name, column in table.items()}
        path = write_csv(base.with_name(f"{base.name}_cells.csv"), columns, zip(*columns.values(), strict=True))
        count = len(columns["instance"])
        if "area_px" in columns and "slice" not in columns:  # images and stacks share a table: the former are slice 0
            before = list(columns).index("y_px") + 1
            columns = dict([*list(columns.items())[:before], ("slice", [0] * count), *list(columns.items())[before:]])
        every = {"file": [found.path.as_posix()] * count, **columns}
        self._all.add(list(every), zip(*every.values(), strict=True))
        return str(path), measured
