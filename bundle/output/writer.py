"""Results on disk in the geometry of the input: probability map, labelled cells, overlay picture, summary."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_data_type

from bundle.atomic import remove_leftovers, require_writable
from bundle.console import true_or_false
from bundle.data.channel_names import are_colours
from bundle.data.channels import CHANNEL_NAMES
from bundle.data.context import own_channels
from bundle.data.formats import extension, stem
from bundle.data.stated_channels import stated_channels
from bundle.output.cell_tables import CellTables
from bundle.output.formats import FORMATS, write_image
from bundle.output.growing_table import GrowingTable
from bundle.output.overlay_files import colours_of, write_overlays
from bundle.output.regions import require_exports, write_regions
from bundle.output.result_page import ResultPage
from bundle.output.segmented import Segmented, meta_of, require_same_size
from bundle.output.tables import summary_row

_logger = logging.getLogger(__name__)


class SegmentationWriter(Transform):
    """Write what was inferred of an image; the last step of a postprocessing chain of dictionary transforms.

    For an input ``<stem>.<ext>`` there will be

    - ``<stem>_probability.<ext>``: float32, 0 .. 1,
    - ``<stem>_cells.<ext>``: 0 background, 1..N; uint16, or uint32 with more than 65535 cells,
    - ``<stem>_overlay.png``: cells outlined on the image, of a volume its middle slice; a TIFF stack also gets
      ``<stem>_overlay.tif``, an RGB page a slice,
    - ``<stem>_cells.csv``: what is measured of every cell, see :func:`bundle.cells.measure`, by the gray values of the
      file,
    - with ``export`` the outlines for other programs, see :func:`bundle.output.regions.write_regions`,

    of several classes (``class_names``) also

    - ``<stem>_probability.<ext>`` with a named channel for each class, see :func:`bundle.output.formats.write_image`,
    - ``<stem>_classes.<ext>``: the class of every pixel, uint8, in the order of the names,

    and the rows of its cells in ``cells.csv``, and one in ``summary.csv``: areas in px; of a volume that a 3D network
    saw, or a stack whose cells were linked (its meta data have :data:`bundle.data.spacing.VOXEL_SPACING`), in voxels
    and µm^3; of a stack labelled slice by slice the cells of all slices; of several classes also the cells of each
    class and the share of pixels that is of it. PNG, JPEG, BMP and TIFF become TIFF, and a stack stays a stack of as
    many pages; NIfTI becomes ``.nii.gz`` with its affine and header; MHA and MHD become ``.mha`` with spacing, origin
    and direction. ``page`` collects what :class:`bundle.output.result_page.WritePage` shows of all images at the end.

    MONAI's readers hand images over as (x, y[, z]); files are written so that a pixel has the position it has in the
    input file. They appear whole or not at all.

    Where two inputs claim one name, the later one is called ``<stem>_<ext>``, then ``<stem>_2`` and so on;
    ``summary.csv`` says which is whose. A slice that was loaded alone (``patch_index`` in its meta) is called
    ``<stem>_<slice>``. Results of an earlier run are replaced, inputs never: ``output_dir`` may not be the folder of an
    input.

    Taken are "image", a MetaTensor CHW[D] with ``filename_or_obj`` and ``affine`` as MONAI's readers set them,
    "instances", 1HW[D] integers, and the probability; of several classes also "class_map", 1HW[D], the class of every
    pixel, and "cell_classes", that of each cell at its number. The dictionary returned has the paths written as
    "output_files", ``{"probability": path, ...}``.

    Args:
        output_dir: folder of the results; made if absent.
        probability_key: 1HW[D], the probability of "cell"; KHW[D] of K classes.
        overlays: False writes no pictures.
        tables: False measures no cells.
        export: formats of outlines, "rois", "geojson", both, or None.
        page: False collects nothing for a page.
        class_names: of the classes, the background's first; None: there is one kind of cell.

    Attributes:
        made_by: tells what computed an image, by column of ``summary.csv``: :func:`bundle.inference.made_by.made_by`.

    Raises:
        OSError: at construction when ``output_dir`` cannot be made or written.
        ValueError: at a call for an image without a file name, of another kind or size than the file read, or in
            ``output_dir``.
        KeyError: at a call when an item is missing.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        probability_key: str = "probability",
        overlays: bool = True,
        tables: bool | str = True,
        export: str | Sequence[str] | None = None,
        page: bool | str = True,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.output_dir = require_writable(output_dir)
        remove_leftovers(self.output_dir, below=True)
        self.probability_key = probability_key
        self.overlays = overlays
        self.export = require_exports(export)
        self.tables = CellTables(self.output_dir) if true_or_false(tables, "tables") else None
        self.page = ResultPage(self.output_dir, class_names) if true_or_false(page, "page") else None
        self.class_names = class_names
        self.made_by: Callable[[], Mapping[str, str]] = dict
        self._claimed: dict[Path, tuple[Path, int | None]] = {}
        self._summary = GrowingTable(self.output_dir / "summary.csv")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        found = self._found(data)
        base = self._base(found.path, found.index)
        of_cells = None
        if self.overlays or self.page is not None:
            of_cells = colours_of(found.cells, found.names, found.class_of, found.volume)

        label_type = np.uint16 if found.cells.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
        probability = (found.probability if found.names else found.probability[0]).astype(np.float32, copy=False)
        written = {
            "probability": _write_map(base, "probability", probability, found, found.names),
            "cells": _write_map(base, "cells", found.cells.astype(label_type, copy=False), found),
        }
        if self.overlays:
            written |= write_overlays(base, found, of_cells)
        if found.class_map is not None:
            written["classes"] = _write_map(base, "classes", found.class_map[0].astype(np.uint8, copy=False), found)
        hyperstack = found.cells.ndim == 3 and len(found.image) > 1
        written |= write_regions(base, found.cells, self.export, found.names, found.class_of, hyperstack)

        measured = None
        if self.tables is not None:
            written["cell_table"], measured = self.tables.write(base, found)
        row = summary_row(found, base.name) | dict(self.made_by())
        self._summary.add(tuple(row), [tuple(row.values())])
        if self.page is not None:
            self.page.add(base.name, found, written, of_cells, found.sides, measured)
        _logger.info("%s -> %s", found.meta["filename_or_obj"], ", ".join(Path(name).name for name in written.values()))
        return {**data, "output_files": written}

    def _found(self, data: Mapping[Hashable, Any]) -> Segmented:
        of_classes = () if self.class_names is None else ("class_map", "cell_classes")
        meta = meta_of(data, self.probability_key, "instances", *of_classes)
        image, probability, cells, *classes = (
            convert_data_type(data[key], np.ndarray)[0]
            for key in ("image", self.probability_key, "instances", *of_classes)
        )
        names, source = self.class_names or (), str(meta["filename_or_obj"])
        if extension(source) not in FORMATS:
            raise ValueError(f"cannot write results of {source!r}: the input must be one of {', '.join(FORMATS)}")
        size = probability.shape[1:]
        if len(size) not in (2, 3) or len(probability) != (len(names) or 1) or cells.shape != (1, *size):
            wanted = f"be {len(names)}HW[D] ({len(names)} classes) and 1HW[D]" if names else "both be 1HW or 1HWD"
            raise ValueError(f"probability and instances must {wanted}, got {probability.shape} and {cells.shape}")
        require_same_size(meta, image.shape[1:], size)
        path, image = Path(os.path.abspath(source)), own_channels(image, meta)
        channels = meta.get(CHANNEL_NAMES) or (stated_channels(path).names if len(image) == 3 else None)
        class_map, class_of = classes or (None, None)
        return Segmented(
            path=path,
            meta=meta,
            image=image,
            probability=probability,
            cells=cells[0],
            names=names,
            class_map=class_map,
            class_of=class_of,
            colours=are_colours(channels),
        )

    def _base(self, source: Path, index: int | None) -> Path:
        """The path of the results of ``source`` without ``_cells.<ext>``."""
        folder = self.output_dir
        if folder in (source.parent.resolve(), source.resolve().parent):
            raise ValueError(
                f"output_dir {str(folder)!r} is the folder of the input images, where results could replace them; "
                f"{str(folder / 'segmentation')!r} would do"
            )
        name = stem(source) if index is None else f"{stem(source)}_{int(index):04d}"
        names = [name, f"{name}{str(extension(source)).replace('.', '_')}"]
        names += [f"{name}_{number}" for number in range(2, len(self._claimed) + 3)]
        one = (source, index)
        base = next(folder / name for name in names if self._claimed.get(folder / name, one) == one)
        self._claimed[base] = one
        return base


def _write_map(base: Path, name: str, array: np.ndarray, found: Segmented, channel_names: Sequence[str] = ()) -> str:
    target = base.with_name(f"{base.name}_{name}{FORMATS[str(extension(found.path))]}")
    named = CHANNEL_NAMES in found.meta and not are_colours(found.meta[CHANNEL_NAMES])
    if not channel_names and named and extension(target) == ".tif":  # a result says what its channel is
        array, channel_names = array[None], [name]
    write_image(target, array, found.path, found.meta, channel_names or None)
    return str(target)
