"""The tables of a segmentation: a row for each cell of an image, and a row for the image."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from bundle.output.segmented import Segmented

#: columns of the table of a large image, which :func:`bundle.cells.measure` has, too, beside many others
CELLS_OF_PLANES = ("instance", "area_px", "x_px", "y_px")
CELLS_OF_VOLUMES = ("instance", "voxels", "volume_um3", "x_px", "y_px", "z_px")


def summary_row(found: Segmented, output: str) -> dict[str, Any]:
    """Column name -> value for one image; ``output`` is how the names of its results begin."""
    count, foreground = int(found.cells.max(initial=0)), int(np.count_nonzero(found.cells))
    file, size = found.path.as_posix(), found.cells.shape
    row = image_row(file, output, size, count, foreground, found.volume, found.spacing)
    if found.class_map is not None and found.class_of is not None:
        kinds = len(found.names)
        of_pixels = np.bincount(found.class_map.ravel(), minlength=kinds) / found.class_map.size
        row |= classes_row(found.names, np.bincount(found.class_of[1:], minlength=kinds), of_pixels)
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
    volume: bool,
    spacing: Sequence[float] | None,
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
        "mean_cell_voxels" if volume else "mean_cell_area_px": f"{foreground / count:.2f}" if count else "",
        "output": output,
    }
    if volume:
        row["mean_cell_volume_um3"] = f"{foreground * prod(spacing) / count:.6g}" if count and spacing else ""
    return row
