"""Image files in the geometry of the file that they were computed from; they appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from monai.data import ITKWriter
from monai.data.utils import to_affine_nd
from monai.utils import MetaKeys, SpaceKeys
from PIL import Image

from bundle.atomic import replacing
from bundle.data.formats import META_IMAGE, NIFTI, PLANAR, TIFF, extension
from bundle.data.pixel_size import PixelSize, pixel_size

#: what is written for each kind of input; a name may have two suffixes
FORMATS: Mapping[str, str] = {
    **dict.fromkeys((*PLANAR, *TIFF), ".tif"),
    **dict.fromkeys(NIFTI, ".nii.gz"),
    **dict.fromkeys(META_IMAGE, ".mha"),
}


def write_image(
    target: Path,
    array: np.ndarray,
    source: Path,
    meta: Mapping[str, Any],
    channel_names: Sequence[str] | None = None,
) -> None:
    """Write an array in the format that the suffix of ``target`` says: ``.tif``, ``.nii.gz`` or ``.mha``.

    Args:
        target: is replaced when it exists.
        array: (x, y[, z]) on the grid of the source, as MONAI's readers order the axes; any type the format knows.
            With ``channel_names``: (C, x, y[, z]).
        source: the file the array was computed from; a NIfTI header is taken over.
        meta: of the MetaTensor that was read from it, with its ``affine``.
        channel_names: of several channels, of which each format holds them in its own way: OME-XML of a TIFF; a comment
            (JSON, ``{"channels": [...]}``) in the header extensions of a NIfTI, whose channels are its last axis;
            ``ChannelNames`` in the header of an MHA, whose pixels are vectors.

    Raises:
        ValueError: for another suffix.
    """
    suffix = extension(target)
    if suffix not in FORMATS.values():
        raise ValueError(f"target must end in .tif, .nii.gz or .mha, got {str(target)!r}")
    with replacing(target) as part:
        if suffix == ".tif":
            write_tiff(part, array, pixel_size(source), channel_names)
        elif suffix == ".nii.gz":
            write_nifti(part, array, source, meta, channel_names)
        else:
            write_itk(part, array, meta, channel_names)


def write_png(target: Path, picture: np.ndarray, **options: Any) -> None:
    """Write a picture, rows and columns of gray or RGB uint8; ``options`` as Pillow takes them."""
    with replacing(target) as part:
        Image.fromarray(picture).save(part, **options)


def write_tiff(
    path: Path,
    array: np.ndarray,
    size: PixelSize | None = None,
    channel_names: Sequence[str] | None = None,
) -> None:
    """(x, y) as one page, (x, y, z) as a page for each z; with a pixel size in its tags, and as OME-TIFF
    where the source was calibrated. With ``channel_names`` (C, x, y[, z]) as OME-TIFF that has them."""
    named = channel_names is not None
    rows = np.ascontiguousarray(np.stack([channel.transpose() for channel in array]) if named else array.transpose())
    axes = "C" * named + "ZYX"[named - rows.ndim :]
    # said to be gray, or 3 pages would be taken for red, green and blue
    options = {"photometric": "minisblack", "compression": "zlib", **pixel_size_options(size, axes)}
    if named:
        options |= {"ome": True, "metadata": {**options["metadata"], "Channel": {"Name": list(channel_names or ())}}}
    if rows.dtype.kind == "f":  # a probability is noise: more effort takes three times as long and saves 4 %
        options["compressionargs"] = {"level": 1}
    tifffile.imwrite(path, rows, **options)


def pixel_size_options(size: PixelSize | None, axes: str) -> dict[str, Any]:
    """Arguments of :func:`tifffile.imwrite` for axes such as "ZYX"."""
    metadata: dict[str, Any] = {"axes": axes}
    if size is None:
        return {"metadata": metadata}
    if size.calibrated:
        known = {"X": size.x, "Y": size.y, **({"Z": size.z} if size.z is not None and "Z" in axes else {})}
        for axis, um in known.items():
            metadata |= {f"PhysicalSize{axis}": um, f"PhysicalSize{axis}Unit": "µm"}
    per_cm = (1e4 / size.x, 1e4 / size.y)
    return {"ome": size.calibrated, "resolution": per_cm, "resolutionunit": "CENTIMETER", "metadata": metadata}


def write_nifti(
    path: Path, array: np.ndarray, source: Path, meta: Mapping[str, Any], channel_names: Sequence[str] | None = None
) -> None:
    """(x, y[, z]) with the affine of ``meta`` and, where ``source`` exists, its header; with ``channel_names``
    (C, x, y[, z]) as a fourth axis."""
    if channel_names is not None:
        array = np.moveaxis(array if array.ndim == 4 else array[..., None], 0, -1)
    affine = to_affine_nd(3, np.asarray(meta["affine"]))
    # units, and which space the affine means
    header: Any = nib.load(source).header.copy() if source.is_file() else None
    if header is not None:
        header.set_slope_inter(1, 0)
    image = nib.Nifti1Image(array, affine, header=header)
    image.set_data_dtype(array.dtype)
    if channel_names is not None:
        names = json.dumps({"channels": list(channel_names)}).encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", names))
    nib.save(image, path)


def write_itk(
    path: Path, array: np.ndarray, meta: Mapping[str, Any], channel_names: Sequence[str] | None = None
) -> None:
    """(x, y[, z]) with spacing, origin and direction of the affine of ``meta``; with ``channel_names`` (C, x, y[, z])
    float32 as vectors."""
    import itk  # only MHA needs it

    ras = meta.get(MetaKeys.SPACE, SpaceKeys.RAS) == SpaceKeys.RAS
    channels_last, axis = (array, None) if channel_names is None else (np.moveaxis(array, 0, -1), -1)
    affine = np.asarray(meta["affine"], float)
    image = ITKWriter.create_backend_obj(channels_last, axis, affine, array.dtype, affine_lps_to_ras=ras)
    if channel_names is not None:
        image.GetMetaDataDictionary()["ChannelNames"] = ", ".join(channel_names)
    try:
        itk.imwrite(image, str(path), compression=True)
    except RuntimeError as error:
        told = next((number for number in errno.errorcode if f"Reason: {os.strerror(number)}" in str(error)), errno.EIO)
        raise OSError(told, os.strerror(told)) from error
    _require_whole_mha(path)


def _require_whole_mha(path: Path) -> None:
    """ITK says nothing of a small file that did not fit on the disk."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    data, size = re.search(rb"ElementDataFile = LOCAL\n", head), re.search(rb"CompressedDataSize = (\d+)", head)
    found = path.stat().st_size
    if data is None or size is None or found != data.end() + int(size[1]):
        raise OSError(errno.EIO, f"only {found} bytes of it were written")
