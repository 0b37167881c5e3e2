"""Results on disk in the geometry of the input: probability map, labelled cells, overlay picture, summary."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Transform
from monai.utils import ImageMetaKey, MetaKeys, TransformBackends, convert_data_type

from bundle.atomic import remove_leftovers, require_writable
from bundle.console import true_or_false
from bundle.data.channels import CHANNEL_NAMES
from bundle.data.context import own_channels
from bundle.data.formats import extension, stem
from bundle.data.spacing import VOXEL_SPACING, stated_sides
from bundle.data.stated_channels import are_colours, stated_channels
from bundle.output.cell_tables import CellTables, measured_cells
from bundle.output.formats import FORMATS, write_image
from bundle.output.growing_table import GrowingTable
from bundle.output.overlay_files import colours_of, write_overlays
from bundle.output.regions import require_exports, write_regions
from bundle.output.result_page import ResultPage
from bundle.output.tables import summary_row

__all__ = ["SegmentationWriter"]

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

    With ``input_dir`` the folders below it are repeated below ``output_dir``. Where two inputs still claim one
    name, the later one is called ``<stem>_<ext>``, then ``<stem>_2`` and so on; ``summary.csv`` says which is
    whose. A slice that was loaded alone (``patch_index`` in its meta) is called ``<stem>_<slice>``. Results of an
    earlier run are replaced, inputs never: ``output_dir`` may not be the folder of an input.

    Args:
        output_dir: folder of the results; made if absent.
        input_dir: folder of all inputs, whose structure is kept, or the only input; None writes side by side.
        image_key: MetaTensor CHW[D] with ``filename_or_obj`` and ``affine`` as MONAI's readers set them.
        probability_key: 1HW[D], the probability of "cell"; KHW[D] of K classes.
        instances_key: 1HW[D] integers, the cells.
        output_key: where the paths written go in the dictionary returned, as ``{"probability": path, ...}``.
        overlays: False writes no pictures.
        tables: False measures no cells.
        export: formats of outlines, "rois", "geojson", both, or None.
        page: False collects nothing for a page.
        class_names: of the classes, the background's first; None: there is one kind of cell.
        class_map_key, class_of_key: 1HW[D], the class of every pixel, and the class of each cell at its number.

    Attributes:
        made_by: tells what computed an image, by column of ``summary.csv``: :func:`bundle.inference.made_by.made_by`.

    Raises:
        OSError: at construction when ``output_dir`` cannot be made or written.
        ValueError: at construction when ``output_dir`` is ``input_dir``; at a call for an image without a file name, of
            another kind or size than the file read, or in ``output_dir``.
        KeyError: at a call when an item is missing.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        input_dir: str | os.PathLike[str] | None = None,
        image_key: str = "image",
        probability_key: str = "probability",
        instances_key: str = "instances",
        output_key: str = "output_files",
        overlays: bool = True,
        tables: bool | str = True,
        export: str | Sequence[str] | None = None,
        page: bool | str = True,
        class_names: Sequence[str] | None = None,
        class_map_key: str = "class_map",
        class_of_key: str = "cell_classes",
    ) -> None:
        self.output_dir = require_writable(output_dir)
        self.input_dir = None if input_dir is None else _absolute(input_dir)
        if self.input_dir is not None and self.input_dir.is_file():
            self.input_dir = self.input_dir.parent
        if self.input_dir is not None and self.output_dir == self.input_dir.resolve():
            raise _own_folder_error(self.output_dir)
        remove_leftovers(self.output_dir, below=True)
        self.image_key = image_key
        self.probability_key = probability_key
        self.instances_key = instances_key
        self.output_key = output_key
        self.overlays = overlays
        self.export = require_exports(export)
        self.tables = CellTables(self.output_dir) if true_or_false(tables, "tables") else None
        self.page = ResultPage(self.output_dir, class_names) if true_or_false(page, "page") else None
        self.class_names = class_names
        self.class_map_key = class_map_key
        self.class_of_key = class_of_key
        self.made_by: Callable[[], Mapping[str, str]] = dict
        self._claimed: dict[Path, tuple[Path, int | None]] = {}
        self._summary = GrowingTable(self.output_dir / "summary.csv")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        of_classes = () if self.class_names is None else (self.class_map_key, self.class_of_key)
        for key in (self.image_key, self.probability_key, self.instances_key, *of_classes):
            if key not in d:
                raise KeyError(f"{key!r} is missing; the writer got {sorted(map(str, d))}")
        meta = getattr(d[self.image_key], "meta", {})
        source = meta.get("filename_or_obj")
        if not source:
            raise ValueError(f"{self.image_key!r} has no filename_or_obj: load it with MONAI's LoadImaged")
        image, probability, cells = (
            convert_data_type(d[key], np.ndarray)[0]
            for key in (self.image_key, self.probability_key, self.instances_key)
        )
        channels = 1 if self.class_names is None else len(self.class_names)
        _check_grid(str(source), meta, image, probability, cells, channels)
        class_map, class_of = (
            convert_data_type(d[key], np.ndarray)[0] if of_classes else None
            for key in (self.class_map_key, self.class_of_key)
        )
        path = _absolute(source)  # not resolved: a link has the name that a person gave it
        base = self._base(path, meta.get(ImageMetaKey.PATCH_INDEX))
        of_cells = None
        if self.overlays or self.page is not None:
            of_cells = colours_of(cells[0], meta, self.class_names, class_of)
        written = self._write(base, path, meta, own_channels(image, meta), probability, cells[0], class_of, of_cells)
        if class_map is not None:
            written |= self._write_classes(base, path, meta, class_map[0])
        spacing = np.asarray(meta.get(VOXEL_SPACING, np.nan), float).ravel()
        details: dict[str, Any] = {
            "class_of": class_of,
            "volume": VOXEL_SPACING in meta,
            "spacing": spacing.tolist() if np.isfinite(spacing).all() else None,
        }
        found, names = cells[0], self.class_names or ()
        hyperstack = found.ndim == 3 and len(own_channels(image, meta)) > 1
        written |= write_regions(base, found, self.export, names, class_of, hyperstack)
        sides = details["spacing"] or stated_sides(path)
        measured = None
        if self.tables is not None:
            sizes = {**details, "spacing": details["spacing"] if details["volume"] else sides}
            measured = measured_cells(path, meta.get(ImageMetaKey.PATCH_INDEX), found, probability, **sizes)
            written["cell_table"] = self.tables.write(base, self._file(path), measured, names, class_of)
        self._summarise(path, base, found, {**details, "names": names, "class_map": class_map})
        if self.page is not None:
            shown = {"image": own_channels(image, meta), "probability": probability, "cells": found, "files": written}
            shown |= {"colours": self._are_colours(path, meta, shown["image"]), "class_of": class_of}
            shown |= {"of_cells": of_cells, "pixel_um": sides, "measured": measured}
            self.page.add(base.relative_to(self.output_dir).as_posix(), **shown)
        _logger.info("%s -> %s", source, ", ".join(Path(name).name for name in written.values()))
        d[self.output_key] = written
        return d

    def _base(self, source: Path, index: int | None) -> Path:
        """The path of the results of ``source`` without ``_cells.<ext>``; its folder is made."""
        name = stem(source) if index is None else f"{stem(source)}_{int(index):04d}"
        folder = self.output_dir
        if self.input_dir is not None and source.is_relative_to(self.input_dir):
            folder = self.output_dir / source.parent.relative_to(self.input_dir)
        if folder.resolve() in (source.parent.resolve(), source.resolve().parent):
            raise _own_folder_error(folder)
        folder.mkdir(parents=True, exist_ok=True)
        names = [name, f"{name}{str(extension(source)).replace('.', '_')}"]
        names += [f"{name}_{number}" for number in range(2, len(self._claimed) + 3)]
        one = (source, index)
        base = next(folder / name for name in names if self._claimed.get(folder / name, one) == one)
        self._claimed[base] = one
        return base

    def _write(
        self,
        base: Path,
        source: Path,
        meta: Mapping[str, Any],
        image: np.ndarray,
        probability: np.ndarray,
        cells: np.ndarray,
        class_of: np.ndarray | None,
        of_cells: np.ndarray | None,
    ) -> dict[str, str]:
        suffix = FORMATS[str(extension(source))]
        label_type = np.uint16 if cells.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
        written = {}
        one = probability[0] if self.class_names is None else probability
        for name, array, dtype in (("probability", one, np.float32), ("cells", cells, label_type)):
            target = base.with_name(f"{base.name}_{name}{suffix}")
            names = self.class_names if array.ndim > cells.ndim else None
            _write_map(target, name, array.astype(dtype, copy=False), source, meta, names)
            written[name] = str(target)
        if self.overlays:
            colours = self._are_colours(source, meta, image)
            written |= write_overlays(base, source, meta, image, cells, colours, self.class_names, class_of, of_cells)
        return written

    def _are_colours(self, source: Path, meta: Mapping[str, Any], image: np.ndarray) -> bool:
        return are_colours(meta.get(CHANNEL_NAMES) or (stated_channels(source).names if len(image) == 3 else None))

    def _write_classes(
        self, base: Path, source: Path, meta: Mapping[str, Any], class_map: np.ndarray
    ) -> dict[str, str]:
        target = base.with_name(f"{base.name}_classes{FORMATS[str(extension(source))]}")
        _write_map(target, "classes", class_map.astype(np.uint8, copy=False), source, meta)
        return {"classes": str(target)}

    def _file(self, source: Path) -> str:
        """How tables call an image."""
        below = self.input_dir is not None and source.is_relative_to(self.input_dir)
        return (source.relative_to(self.input_dir) if below and self.input_dir else source).as_posix()

    def _summarise(self, source: Path, base: Path, cells: np.ndarray, details: Mapping[str, Any]) -> None:
        """Add the row of an image; the first one of this writer begins a new file."""
        row = summary_row(self._file(source), base.relative_to(self.output_dir).as_posix(), cells, **details)
        row |= self.made_by()
        self._summary.add(tuple(row), [tuple(row.values())])


def _write_map(
    target: Path,
    name: str,
    array: np.ndarray,
    source: Path,
    meta: Mapping[str, Any],
    channel_names: Sequence[str] | None = None,
) -> None:
    named = CHANNEL_NAMES in meta and not are_colours(meta[CHANNEL_NAMES])
    if channel_names is None and named and extension(target) == ".tif":  # a result says what its channel is
        write_image(target, array[None], source, meta, [name])
    else:
        write_image(target, array, source, meta, channel_names)


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))


def _own_folder_error(folder: Path) -> ValueError:
    return ValueError(
        f"output_dir {str(folder)!r} is the folder of the input images, where results could replace them; "
        f"{str(folder / 'segmentation')!r} would do"
    )


def _check_grid(
    source: str, meta: Mapping[str, Any], image: np.ndarray, probability: np.ndarray, cells: np.ndarray, channels: int
) -> None:
    """The arrays must still be on the grid of the file, or they could not be laid on it."""
    if extension(source) not in FORMATS:
        raise ValueError(f"cannot write results of {source!r}: the input must be one of {', '.join(FORMATS)}")
    if probability.ndim not in (3, 4) or probability.shape[0] != channels or cells.shape != (1, *probability.shape[1:]):
        wanted = "both be 1HW or 1HWD" if channels == 1 else f"be {channels}HW[D] ({channels} classes) and 1HW[D]"
        raise ValueError(f"probability and instances must {wanted}, got {probability.shape} and {cells.shape}")
    size = probability.shape[1:]
    on_file = tuple(int(n) for n in meta.get(MetaKeys.SPATIAL_SHAPE, image.shape[1:]))
    if image.shape[1:] != size or on_file != size:
        raise ValueError(
            f"results of {source!r} have the size {size}, the image here {image.shape[1:]} and in the file "
            f"{on_file}: all must be equal, so invert what resized or cropped the image first"
        )
