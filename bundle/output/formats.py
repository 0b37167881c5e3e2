"""Image files in the geometry of the file that they were computed from; they appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from monai.utils import MetaKeys, SpaceKeys

__all__ = ["FORMATS", "split_name", "write_image", "write_itk", "write_nifti", "write_tiff", "write_whole"]

#: what is written for each kind of input; a name may have two suffixes
FORMATS: Mapping[str, str] = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"), ".tif"),
    **dict.fromkeys((".nii", ".nii.gz"), ".nii.gz"),
    **dict.fromkeys((".mha", ".mhd"), ".mha"),
}


def split_name(path: Path) -> tuple[str, str]:
    """Stem and lower-case suffix, ``.nii.gz`` being one."""
    name = path.name
    suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else path.suffix
    return name[: len(name) - len(suffix)], suffix.lower()


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside the target, then rename: a reader never sees half a file."""
    suffix = split_name(target)[1]
    temporary = target.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        write(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_image(target: Path, array: np.ndarray, source: Path, meta: Mapping[str, Any]) -> None:
    """Write an array in the format that the suffix of ``target`` says: ``.tif``, ``.nii.gz`` or ``.mha``.

    Args:
        target: is replaced when it exists.
        array: (x, y[, z]) on the grid of the source, as MONAI's readers order the axes; any type the format knows.
        source: the file the array was computed from; a NIfTI header is taken over.
        meta: of the MetaTensor that was read from it, with its ``affine``.

    Raises:
        ValueError: for another suffix.
    """
    suffix = split_name(target)[1]
    if suffix == ".tif":
        write_whole(target, lambda path: write_tiff(path, array))
    elif suffix == ".nii.gz":
        write_whole(target, lambda path: write_nifti(path, array, source, meta))
    elif suffix == ".mha":
        write_whole(target, lambda path: write_itk(path, array, meta))
    else:
        raise ValueError(f"target must end in .tif, .nii.gz or .mha, got {str(target)!r}")


def write_tiff(path: Path, array: np.ndarray) -> None:
    """(x, y) as one page, (x, y, z) as a page for each z."""
    rows = np.ascontiguousarray(array.transpose())
    # said to be gray, or 3 pages would be taken for red, green and blue
    tifffile.imwrite(path, rows, photometric="minisblack", compression="zlib", metadata={"axes": "ZYX"[-rows.ndim :]})


def write_nifti(path: Path, array: np.ndarray, source: Path, meta: Mapping[str, Any]) -> None:
    """(x, y[, z]) with the affine of ``meta`` and, where ``source`` exists, its header."""
    affine = np.eye(4)
    given = np.asarray(meta["affine"], dtype=float)
    n = len(given) - 1
    affine[:n, :n], affine[:n, 3] = given[:n, :n], given[:n, n]
    # units, and which space the affine means
    header: Any = nib.load(source).header.copy() if source.is_file() else None
    if header is not None:
        header.set_slope_inter(1, 0)
    image = nib.Nifti1Image(array, affine, header=header)
    image.set_data_dtype(array.dtype)
    nib.save(image, path)


def write_itk(path: Path, array: np.ndarray, meta: Mapping[str, Any]) -> None:
    """(x, y[, z]) with spacing, origin and direction of the affine of ``meta``."""
    import itk  # only MHA needs it

    n = array.ndim
    affine = np.asarray(meta["affine"], dtype=float)
    if meta.get(MetaKeys.SPACE, SpaceKeys.RAS) == SpaceKeys.RAS:  # ITK counts x and y to the left and back
        affine = np.diag([-1.0, -1.0, *[1.0] * (len(affine) - 2)]) @ affine
    spacing = np.linalg.norm(affine[:n, :n], axis=0)
    image = itk.image_from_array(np.ascontiguousarray(array.transpose()))
    image.SetSpacing(spacing)
    image.SetOrigin(affine[:n, -1])
    image.SetDirection(itk.matrix_from_array(affine[:n, :n] / spacing))
    itk.imwrite(image, str(path), compression=True)
