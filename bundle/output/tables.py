"""The tables of a segmentation: a row for each cell of an image, and a row for the image."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

__all__ = ["CELLS_OF_PLANES", "CELLS_OF_VOLUMES", "classes_row", "image_row", "summary_row", "with_classes"]

#: columns of the table of a large image, which :func:`bundle.cells.measure` has, too, beside many others
CELLS_OF_PLANES = ("instance", "area_px", "x_px", "y_px")
CELLS_OF_VOLUMES = ("instance", "voxels", "volume_um3", "x_px", "y_px", "z_px")


def with_classes(
    table: dict[str, np.ndarray], names: Sequence[str], class_of: np.ndarray | None
) -> dict[str, np.ndarray]:
    """A table of cells with the name of the class of each behind its number.

    Args:
        table: column name -> values, "instance" first.
        names: of the classes.
        class_of: (N + 1,), class of each cell; None where there is but one kind: the table stays as it is.
    """
    if class_of is None:
        return table
    kinds = np.array(names, object)[class_of[table["instance"]]]
    return {"instance": table["instance"], "class": kinds, **table}


def summary_row(
    file: str,
    output: str,
    cells: np.ndarray,
    names: Sequence[str] = (),
    class_of: np.ndarray | None = None,
    volume: bool = False,
    spacing: Sequence[float] | None = None,
    class_map: np.ndarray | None = None,
) -> dict[str, Any]:
    """Column name -> value for one image.

    Args:
        file, output: of the image, and how the names of its results begin.
        cells: HW[D], 0 background, 1 .. N cells.
        names: of the classes.
        class_of: (N + 1,), class of each cell; None where there is but one kind.
        volume: HWD is one volume.
        spacing: between its voxels, µm; None where it is not known.
        class_map: class of every pixel; None where there is but one kind.
    """
    count, foreground = int(cells.max(initial=0)), int(np.count_nonzero(cells))
    row = image_row(file, output, cells.shape, count, foreground, volume, spacing)
    if class_map is not None and class_of is not None:
        of_pixels = np.bincount(class_map.ravel(), minlength=len(names)) / class_map.size
        row |= classes_row(names, np.bincount(class_of[1:], minlength=len(names)), of_pixels)
    return row


def classes_row(names: Sequence[str], of_cells: np.ndarray, of_pixels: np.ndarray) -> dict[str, Any]:
    """What :func:`summary_row` has of classes: number of cells, and share of the pixels, of each."""
    row: dict[str, Any] = {f"cells {name}": int(n) for name, n in zip(names[1:], of_cells[1:], strict=True)}
    return row | {f"fraction {name}": f"{share:.6f}" for name, share in zip(names, of_pixels, strict=True)}


def image_row(
    file: str,
    output: str,
    size: Sequence[int],
    count: int,
    foreground: int,
    volume: bool = False,
    spacing: Sequence[float] | None = None,
) -> dict[str, Any]:
    """What :func:`summary_row` has of every image: of ``count`` cells with ``foreground`` px in all."""
    width, height, *slices = size
    row: dict[str, Any] = {
        "file": file,
        "width": width,
        "height": height,
        "slices": slices[0] if slices else 1,
        "cells": count,
        "foreground_fraction": f"{foreground / prod(size):.6f}",
        "mean_cell_area_px": f"{foreground / count:.2f}" if count else "",
        "output": output,
    }
    if volume:
        row["mean_cell_volume_um3"] = f"{foreground * prod(spacing) / count:.6g}" if count and spacing else ""
    return row
