"""Images and labels as arrays for a client: (rows, columns) or (slices, rows, columns), whatever their files are."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import tifffile

from bundle.data.classes import Classes
from bundle.data.formats import NIFTI
from bundle.data.load_slice import LoadSlice
from bundle.data.truth import segment_values
from label_app.refusals import Unusable
from label_app.store import ignored_value, segments_of
from transforms import IGNORE, LabelToInstances
from transforms.labels.classes import class_components

__all__ = ["image_of", "label_of", "packed", "unpacked", "write_label"]


def packed(**arrays: np.ndarray) -> bytes:
    """An .npz archive."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # its types take the names of arrays for options
    return stream.getvalue()


def unpacked(stream: BinaryIO, most: int, *names: str) -> tuple[np.ndarray, ...]:
    """Arrays of an .npz archive by their names, none of them of more than ``most`` bytes.

    Raises:
        Unusable: for another file, a name that is not there, or a larger array, before it takes memory.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            largest = max(archive.getinfo(f"{name}.npy").file_size for name in names)
        if largest <= most:
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                return tuple(arrays[name] for name in names)
    except (
        ValueError,
        OSError,
        EOFError,
        KeyError,
        AttributeError,
        TypeError,
        MemoryError,
        zipfile.BadZipFile,
    ) as error:
        raise Unusable(f"it must be an .npz file with the arrays {', '.join(names)} ({error})") from error
    raise Unusable(f"one of its arrays has {largest} bytes, more than the image's size allows ({most})")


def image_of(path: str) -> np.ndarray:
    """(Z)YXC, in the smallest unsigned type that holds it, else float32.

    Raises:
        ImageError: as :class:`bundle.data.load_slice.LoadSlice`.
    """
    gray: np.ndarray = LoadSlice(spatial_dims=None)(path).numpy().T
    if gray.min() < 0 or gray.max() > np.iinfo(np.uint16).max or (gray != np.rint(gray)).any():
        return gray
    return gray.astype(np.min_scalar_type(int(gray.max())))


def label_of(path: str, info: Mapping[str, Any], classes: Classes) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a label that was uploaded, and the class of each.

    Args:
        path: of the file.
        info: what came with its upload, see :func:`label_app.store.ignored_value` and
            :func:`label_app.store.segments_of`.
        classes: of the network.

    Returns:
        (Z)YX int32: :data:`transforms.IGNORE`, 0 background, 1..N cells; and int64 (N + 1,), 0 at 0.

    Raises:
        ImageError, ValueError: for a label that cannot be read.
    """
    pixels, ignored = LoadSlice(label=True, spatial_dims=None)(path).numpy(), ignored_value(info)
    if classes.binary:
        cells = np.asarray(LabelToInstances(ignore_value=ignored)(pixels))[0].T
        table = np.ones(int(cells.max(initial=0)) + 1, np.int64)
        table[0] = 0
        return cells, table
    kinds = segment_values(classes, segments_of(info, classes)).indices(pixels, path, ignored)
    objects = class_components(np.where(kinds > 0, pixels, kinds))[0]
    table = np.zeros(int(np.max(objects, initial=0)) + 1, np.int64)
    inside = kinds > 0
    table[np.asarray(objects)[inside]] = kinds[inside]
    return np.asarray(objects)[0].T, table


def write_label(
    folder: Path, image: str, cells: np.ndarray, table: np.ndarray, classes: Classes
) -> tuple[Path, dict[str, Any]]:
    """The file of a label, and what goes with its upload.

    Args:
        folder: where it is written: TIFF or, of a NIfTI image, NIfTI with the image's affine.
        image: path of the image.
        cells: (Z)YX whole numbers, as :func:`label_of` gives them.
        table: the class of each number, (at least N + 1,).
        classes: of the network.

    Raises:
        Unusable: for arrays of another kind, and a class that there is not.
    """
    if cells.dtype.kind not in "iu" or cells.ndim not in (2, 3) or not cells.size:
        raise Unusable(f"cells must be whole numbers (slices, rows, columns), got {cells.dtype} {cells.shape}")
    if cells.min() < IGNORE or cells.max() > np.iinfo(np.int32).max:
        raise Unusable(f"cells must be {IGNORE} (not annotated), 0 or numbers below 2^31, got {cells.min()}")
    info: dict[str, Any] = {}
    if not classes.binary:
        if table.dtype.kind not in "iu" or table.ndim != 1:
            raise Unusable(f"classes must be whole numbers, one of each cell, got {table.dtype} {table.shape}")
        present = np.unique(cells[cells > 0]).tolist()
        of = {n: int(table[n]) if n < len(table) else 0 for n in present}
        wrong = [n for n, kind in of.items() if not 0 < kind < len(classes)]
        if wrong:
            raise Unusable(f"classes must be 1 to {len(classes) - 1} for each cell, got {of[wrong[0]]} of {wrong[0]}")
        info["label_info"] = [{"name": f"{classes.names[kind]} {n}", "idx": n} for n, kind in of.items()]
    cells = cells.astype(np.int16 if cells.max() <= np.iinfo(np.int16).max else np.int32)
    nifti = next((known for known in reversed(NIFTI) if image.lower().endswith(known)), None)
    file = folder / f"label{nifti or '.tif'}"
    if nifti:
        affine: Any = nib.load(image)  # a file of any kind, to its types
        nib.save(nib.Nifti1Image(cells.T, affine.affine), file)
    else:
        tifffile.imwrite(file, cells, photometric="minisblack", compression="zlib")
    return file, info
