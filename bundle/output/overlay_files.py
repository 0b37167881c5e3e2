"""Pictures of an image with its cells outlined, as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from bundle.atomic import replacing
from bundle.data.formats import extension
from bundle.data.pixel_size import pixel_size
from bundle.data.spacing import VOXEL_SPACING
from bundle.output.class_pictures import class_colours, with_legend
from bundle.output.formats import FORMATS, pixel_size_options
from bundle.output.overlay import cell_colours, every, overlay, reduction, shown_channels

__all__ = ["colours_of", "write_overlays"]


def colours_of(
    cells: np.ndarray, meta: Mapping[str, Any], names: Sequence[str] | None = None, class_of: np.ndarray | None = None
) -> np.ndarray | None:
    """The colour of each cell in all pictures of an image, (N + 1)x3; None of a stack, whose slices have their own.

    The arguments are those of :func:`write_overlays`.
    """
    if class_of is not None:
        return np.asarray(class_colours(len(names or ()))[class_of])
    if cells.ndim == 2:
        return cell_colours(every(cells.T, reduction(cells.shape)), int(cells.max(initial=0)))
    if VOXEL_SPACING in meta:  # a cell of a volume has one colour in all slices
        return cell_colours(np.concatenate(np.pad(cells, ((0, 0), (0, 12), (0, 0))).T))
    return None


def write_overlays(
    base: Path,
    source: Path,
    meta: Mapping[str, Any],
    image: np.ndarray,
    cells: np.ndarray,
    colours: bool,
    names: Sequence[str] | None = None,
    class_of: np.ndarray | None = None,
    of_cells: np.ndarray | None = None,
) -> dict[str, str]:
    """Write ``<base>_overlay.png``, of a volume its middle slice, and of a TIFF stack ``<base>_overlay.tif``.

    Args:
        base: path of the results without their endings.
        source: file of the image.
        meta: of the image; with :data:`bundle.data.spacing.VOXEL_SPACING` it is a volume.
        image: (C, x, y[, slices]).
        cells: (x, y[, slices]), 0 background, 1 .. N cells.
        colours: three channels are red, green and blue.
        names, class_of: of the classes, and of each cell, (N + 1,); None: there is one kind.
        of_cells: of :func:`colours_of`.

    Returns:
        kind -> path.
    """
    suffix = FORMATS[str(extension(source))]
    stack = cells.ndim == 3
    slices = range(cells.shape[2]) if stack and suffix == ".tif" else [cells.shape[-1] // 2]
    pages = []
    for index in slices:
        plane = image[..., index] if stack else image
        picture = shown_channels(plane.swapaxes(1, 2))  # (C, x, y) -> rows and columns
        pages.append(overlay(picture, (cells[..., index] if stack else cells).T, colours=colours, of_cells=of_cells))
    target = base.with_name(f"{base.name}_overlay.png")
    with replacing(target) as part:
        shown = pages[len(pages) // 2]
        picture = shown if class_of is None else with_legend(shown, names or ())
        Image.fromarray(picture).save(part, compress_level=1)  # a quarter of the time of level 6, and no larger
    written = {"overlay": str(target)}
    if stack and suffix == ".tif":
        target = base.with_name(f"{base.name}_overlay.tif")
        with replacing(target) as part:
            full = pages[0].shape[:2] == cells.T.shape[-2:]  # a large one is scaled down
            size = pixel_size_options(pixel_size(source) if full else None, "ZYXS")
            tifffile.imwrite(part, np.stack(pages), photometric="rgb", compression="zlib", **size)
        written["overlay_stack"] = str(target)
    return written
