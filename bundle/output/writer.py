"""Results on disk in the geometry of the input: probability map, labelled cells, overlay picture, summary."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from monai.transforms import Transform
from monai.utils import ImageMetaKey, MetaKeys, TransformBackends, convert_data_type
from PIL import Image

from bundle.atomic import append_csv, remove_leftovers, replacing, require_writable, write_csv
from bundle.data.channels import CHANNEL_NAMES
from bundle.data.context import own_channels
from bundle.data.formats import extension, stem
from bundle.data.pixel_size import pixel_size
from bundle.data.spacing import VOXEL_SPACING
from bundle.data.stated_channels import are_colours, stated_channels
from bundle.output.class_pictures import class_colours, with_legend
from bundle.output.formats import FORMATS, pixel_size_options, write_image
from bundle.output.overlay import cell_colours, overlay, shown_channels
from bundle.output.tables import cell_table, summary_row

__all__ = ["SegmentationWriter"]

_logger = logging.getLogger(__name__)


class SegmentationWriter(Transform):
    """Write what was inferred of an image; the last step of a postprocessing chain of dictionary transforms.

    For an input ``<stem>.<ext>`` there will be

    - ``<stem>_probability.<ext>``: float32, 0 .. 1,
    - ``<stem>_cells.<ext>``: 0 background, 1..N; uint16, or uint32 with more than 65535 cells,
    - ``<stem>_overlay.png``: cells outlined on the image, of a volume its middle slice; a TIFF stack also gets
      ``<stem>_overlay.tif``, an RGB page a slice,

    of several classes (``class_names``) also

    - ``<stem>_probability.<ext>`` with a named channel for each class, see :func:`bundle.output.formats.write_image`,
    - ``<stem>_classes.<ext>``: the class of every pixel, uint8, in the order of the names,
    - ``<stem>_cells.csv``: number, class and size of every cell, and the overlay in the colours of the classes,

    of a volume that a 3D network saw, or a stack whose cells were linked (its meta data have
    :data:`bundle.data.spacing.VOXEL_SPACING`), also

    - ``<stem>_cells.csv``: number, class where there are several, voxels, µm^3 and centre (voxels) of every cell,

    and one row in ``summary.csv`` (areas in px, in voxels of a volume, and then in µm^3, too; of a stack labelled slice
    by slice the cells of all slices; of several classes also the cells of each class and the share of pixels that is of
    it). PNG, JPEG, BMP and TIFF become TIFF, and a stack stays a stack of as many pages; NIfTI becomes ``.nii.gz`` with
    its affine and header; MHA and MHD become ``.mha`` with spacing, origin and direction.
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
        class_names: of the classes, the background's first; None: there is one kind of cell.
        class_map_key, class_of_key: 1HW[D], the class of every pixel, and the class of each cell at its number.

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
        self.class_names = class_names
        self.class_map_key = class_map_key
        self.class_of_key = class_of_key
        self._claimed: dict[Path, tuple[Path, int | None]] = {}
        self._summary_begun = False

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
        written = self._write(base, path, meta, own_channels(image, meta), probability, cells[0], class_of)
        if class_map is not None:
            written |= self._write_classes(base, path, meta, class_map[0])
        details: dict[str, Any] = {
            "names": self.class_names or (),
            "class_of": class_of,
            "volume": VOXEL_SPACING in meta,
        }
        spacing = np.asarray(meta.get(VOXEL_SPACING, np.nan), float).ravel()
        details |= {"spacing": spacing.tolist() if np.isfinite(spacing).all() else None}
        if class_of is not None or VOXEL_SPACING in meta:
            table = base.with_name(f"{base.name}_cells.csv")
            written["cell_table"] = str(write_csv(table, *cell_table(cells[0], **details), digits=6))
        self._summarise(path, base, cells[0], details | {"class_map": class_map})
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
            names = meta.get(CHANNEL_NAMES) or (stated_channels(source).names if len(image) == 3 else None)
            colours = are_colours(names)
            written |= self._write_overlays(base, source, meta, image, cells, colours, class_of)
        return written

    def _write_classes(
        self, base: Path, source: Path, meta: Mapping[str, Any], class_map: np.ndarray
    ) -> dict[str, str]:
        target = base.with_name(f"{base.name}_classes{FORMATS[str(extension(source))]}")
        _write_map(target, "classes", class_map.astype(np.uint8, copy=False), source, meta)
        return {"classes": str(target)}

    def _write_overlays(
        self,
        base: Path,
        source: Path,
        meta: Mapping[str, Any],
        image: np.ndarray,
        cells: np.ndarray,
        colours: bool,
        class_of: np.ndarray | None,
    ) -> dict[str, str]:
        of_cells = None if class_of is None else class_colours(len(self.class_names or ()))[class_of]
        suffix = FORMATS[str(extension(source))]
        volume = cells.ndim == 3
        slices = range(cells.shape[2]) if volume and suffix == ".tif" else [cells.shape[-1] // 2]
        if of_cells is None and VOXEL_SPACING in meta:  # a cell of a volume has one colour in all slices
            of_cells = cell_colours(np.concatenate(np.pad(cells, ((0, 0), (0, 12), (0, 0))).T))
        pages = []
        for index in slices:
            plane = image[..., index] if volume else image
            picture = shown_channels(plane.swapaxes(1, 2))  # (C, x, y) -> rows and columns
            pages.append(
                overlay(picture, (cells[..., index] if volume else cells).T, colours=colours, of_cells=of_cells)
            )
        target = base.with_name(f"{base.name}_overlay.png")
        with replacing(target) as part:
            shown = pages[len(pages) // 2]
            Image.fromarray(shown if class_of is None else with_legend(shown, self.class_names or ())).save(part)
        written = {"overlay": str(target)}
        if volume and suffix == ".tif":
            target = base.with_name(f"{base.name}_overlay.tif")
            with replacing(target) as part:
                full = pages[0].shape[:2] == cells.T.shape[-2:]  # a large one is scaled down
                size = pixel_size_options(pixel_size(source) if full else None, "ZYXS")
                tifffile.imwrite(part, np.stack(pages), photometric="rgb", compression="zlib", **size)
            written["overlay_stack"] = str(target)
        return written

    def _summarise(self, source: Path, base: Path, cells: np.ndarray, details: Mapping[str, Any]) -> None:
        """Add the row of an image; the first one of this writer begins a new file."""
        below = self.input_dir and source.is_relative_to(self.input_dir)
        file = source.relative_to(self.input_dir) if below and self.input_dir else source
        row = summary_row(file.as_posix(), base.relative_to(self.output_dir).as_posix(), cells, **details)
        append_csv(self.output_dir / "summary.csv", tuple(row), [tuple(row.values())], fresh=not self._summary_begun)
        self._summary_begun = True


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
