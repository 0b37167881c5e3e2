"""Pictures of an image with its cells outlined, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from bundle.atomic import replacing
from bundle.data.formats import extension
from bundle.data.pixel_size import pixel_size
from bundle.output.class_pictures import class_colours, with_legend
from bundle.output.formats import FORMATS, pixel_size_options, write_png
from bundle.output.overlay import cell_colours, every, overlay, reduction, shown_channels
from bundle.output.segmented import Segmented


def colours_of(
    cells: np.ndarray, names: Sequence[str] | None = None, class_of: np.ndarray | None = None, volume: bool = False
) -> np.ndarray | None:
    """The colour of each cell in all pictures of an image, (N + 1)x3; None of a stack, whose slices have their own.

    The arguments are those of :class:`bundle.output.segmented.Segmented`.
    """
    if class_of is not None:
        return np.asarray(class_colours(len(names or ()))[class_of])
    if cells.ndim == 2:
        return cell_colours(every(cells.T, reduction(cells.shape)), int(cells.max(initial=0)))
    if volume:  # a cell has one colour in all slices
        return cell_colours(np.concatenate(np.pad(cells, ((0, 0), (0, 12), (0, 0))).T))
    return None


def write_overlays(base: Path, found: Segmented, of_cells: np.ndarray | None) -> dict[str, str]:
    """Write ``<base>_overlay.png``, of a volume its middle slice, and of a TIFF stack ``<base>_overlay.tif``.

    Args:
        base: path of the results without their endings.
        found: the image.
        of_cells: of :func:`colours_of`.

    Returns:
        kind -> path.
    """
    cells, stack = found.cells, found.cells.ndim == 3
    pages_too = stack and FORMATS[str(extension(found.path))] == ".tif"
    pages = []
    for index in range(cells.shape[2]) if pages_too else [cells.shape[-1] // 2]:
        plane = found.image[..., index] if stack else found.image
        picture = shown_channels(plane.swapaxes(1, 2))  # (C, x, y) -> rows and columns
        shown = (cells[..., index] if stack else cells).T
        pages.append(overlay(picture, shown, colours=found.colours, of_cells=of_cells))
    middle = pages[len(pages) // 2]
    target = base.with_name(f"{base.name}_overlay.png")
    # a quarter of the time of level 6, and no larger
    write_png(target, middle if found.class_of is None else with_legend(middle, found.names), compress_level=1)
    written = {"overlay": str(target)}
    if pages_too:
        target = base.with_name(f"{base.name}_overlay.tif")
        with replacing(target) as part:
            full = middle.shape[:2] == cells.T.shape[-2:]  # a large one is scaled down
            size = pixel_size_options(pixel_size(found.path) if full else None, "ZYXS")
            tifffile.imwrite(part, np.stack(pages), photometric="rgb", compression="zlib", **size)
        written["overlay_stack"] = str(target)
    return written
