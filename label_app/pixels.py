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
from bundle.data.formats import NIFTI, extension
from bundle.data.load_slice import LoadSlice
from label_app.refusals import Unusable
from label_app.store import cells_and_classes
from transforms import IGNORE


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
    except Exception as error:  # a damaged archive raises whatever its bytes happen to say
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
    """Cells of a label that was uploaded, (Z)YX, and the class of each: :func:`label_app.store.cells_and_classes`.

    Raises:
        ImageError, ValueError: for a label that cannot be read.
    """
    pixels = LoadSlice(label=True, spatial_dims=None)(path).numpy()
    cells, table = cells_and_classes(pixels, path, info, classes)
    return cells[0].T, table


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
    low, high = cells.min(), cells.max()
    if low < IGNORE or high > np.iinfo(np.int32).max:
        raise Unusable(f"cells must be {IGNORE} (not annotated), 0 or numbers below 2^31, got {low} to {high}")
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
    cells = cells.astype(np.int16 if high <= np.iinfo(np.int16).max else np.int32)
    suffix = extension(image)
    file = folder / f"label{suffix if suffix in NIFTI else '.tif'}"
    if suffix in NIFTI:
        affine: Any = nib.load(image)  # a file of any kind, to its types
        nib.save(nib.Nifti1Image(cells.T, affine.affine), file)
    else:
        tifffile.imwrite(file, cells, photometric="minisblack", compression="zlib")
    return file, info
