"""What is in a folder of images: which files are readable, what their names mean, what size their headers state."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from pathlib import Path
from typing import Any, cast

import nibabel
import tifffile

from bundle.data.errors import ImageError, UnreadableImageError, unreadable
from bundle.data.plausible import meta_image_bytes, packed_bits, require_plausible, require_plausible_series
from bundle.data.windows import window_of

TIFF = (".tif", ".tiff")
NIFTI = (".nii", ".nii.gz")
META_IMAGE = (".mha", ".mhd")
#: always a single plane, no header needed to know
PLANAR = (".png", ".jpg", ".jpeg", ".bmp")
#: compressions of TIFF that are JPEG's: of TIFF 6, its successor, and that of raw photographs
_JPEG = (6, 7, 34892)
#: columns that are rather channels, where there are more slices and rows than any image has channels
_CHANNELS, _NO_CHANNELS = 4, 32
EXTENSIONS = (*TIFF, *PLANAR, *NIFTI, *META_IMAGE)
#: images that are not read
FOREIGN = (
    *(".czi", ".nd2", ".lif", ".lsm", ".oib", ".oif", ".vsi", ".zvi", ".ims", ".stk", ".dv", ".ndpi", ".svs", ".scn"),
    *(".h5", ".hdf5", ".zarr", ".npy", ".npz", ".dcm", ".nrrd", ".mrc"),
    *(".gif", ".webp", ".jp2", ".psd", ".svg", ".pdf"),
)


def extension(path: str | os.PathLike[str]) -> str | None:
    """The readable extension of a file name, in lower case; None for any other file and for hidden ones."""
    name = Path(path).name.lower()
    if name.startswith("."):
        return None
    return max((known for known in EXTENSIONS if name.endswith(known)), key=len, default=None)


def stem(path: str | os.PathLike[str]) -> str:
    """File name without its readable extension: ``a.nii.gz`` and ``a.tif`` are both ``a``."""
    name = composed(Path(path).name)
    return name[: len(name) - len(extension(name) or "")]


def composed(name: str) -> str:
    """A name in one spelling: macOS writes ``ö`` as ``o`` and two dots, others as one letter, which look the same."""
    return unicodedata.normalize("NFC", name)


def natural_key(path: str | os.PathLike[str]) -> list[tuple[int, int, str]]:
    """Sort key that puts ``t9`` before ``t10``."""
    parts = re.split(r"(\d+)", Path(path).name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def spatial_shape(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Size along (x, y) or (x, y, slices), px, from the header alone; a single slice counts as none.

    Raises:
        UnreadableImageError: when the header cannot be read, or states what the file cannot hold.
        ImageError: for a TIFF whose pages differ in size, or complex numbers.
    """
    require_file(path)
    if (window := window_of(path)) is not None:
        return window.width, window.height
    if extension(path) in TIFF:
        with unreadable(path), open_tiff(path) as file:
            series = tiff_series(file)
            shape = tuple(math.prod(series.shape[axis] for axis in axes) for axes in tiff_axes(series)[:3])
    else:
        shape = stated_shape(path)[0][:3]
    return shape[:2] if shape[2:] == (1,) else shape


def is_lossy(path: str | os.PathLike[str]) -> bool:
    """Whether a file keeps its pixels as JPEG does, which changes them; a TIFF may, too."""
    if extension(path) not in TIFF:
        return extension(path) in (".jpg", ".jpeg")
    with unreadable(path), open_tiff(path) as file:
        return cast(Any, file.pages.first).compression in _JPEG


def slice_count(path: str | os.PathLike[str]) -> int:
    """Pages of a stack or slices of a volume; 1 for a single plane.

    Raises:
        ImageError: as :func:`spatial_shape`.
    """
    return 1 if extension(path) in PLANAR else (*spatial_shape(path), 1)[2]


def require_one_volume(path: str | os.PathLike[str]) -> None:
    """Check that the slices of a file are those of one time point, where they are to be one volume.

    A film of planes is taken for slices: many programs call slices time points.

    Raises:
        ImageError: for a TIFF of several time points with several slices each.
    """
    if extension(path) in TIFF:
        with unreadable(path), open_tiff(path) as file:
            series = tiff_series(file)
            size = dict(zip(series.axes, series.shape, strict=True))
        times, slices = size.get("T", 1), size.get("Z", 1)
        if times > 1 and slices > 1:
            told = f"it has {times} time points of {slices} slices, which would count as one volume of {times * slices}"
            raise ImageError(path, f"{told}: save each time point by itself")


def stated_shape(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int]:
    """What the header of a file that is no TIFF states: px along all axes (x, y, ...), and bytes of a pixel.

    Raises:
        UnreadableImageError: as :func:`spatial_shape`.
        ImageError: for complex numbers.
    """
    kind, held = extension(path), Path(path).stat().st_size
    with unreadable(path):
        if kind in NIFTI:
            header: Any = nibabel.load(path).header
            shape, dtype = tuple(int(side) for side in header.get_data_shape()), header.get_data_dtype()
            if dtype.kind == "c":
                raise ImageError(path, f"its pixels are complex numbers ({dtype}): save their magnitude")
            size = int(dtype.itemsize)
        else:
            if kind in META_IMAGE:
                held = meta_image_bytes(path)
            shape, size = _by_itk(path)
        bits = packed_bits(path) if kind == ".png" else 8 * size
        require_plausible(path, math.prod(shape) * bits // 8, held, shape)
    return shape, size


def _by_itk(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int]:
    header = itk_header(path)
    shape = tuple(int(header.GetDimensions(axis)) for axis in range(header.GetNumberOfDimensions()))
    if not 2 <= len(shape) <= 4:  # for others ITK loads all of its modules before it gives up
        raise UnreadableImageError(path, f"it has {len(shape)} axes, an image has 2 to 4")
    return shape, int(header.GetComponentSize()) * int(header.GetNumberOfComponents())


def itk_header(path: str | os.PathLike[str]) -> Any:
    """ITK's reader of one file, with what its header says.

    Raises:
        UnreadableImageError: for a file of another kind than its name says.
        RuntimeError: of ITK, for a header that is damaged.
    """
    import itk  # takes a second

    header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if header is None:
        raise UnreadableImageError(path, "it is not an image of the kind its name says")
    header.SetFileName(str(path))
    header.ReadImageInformation()
    return header


def require_file(path: str | os.PathLike[str]) -> None:
    """Check that there is a file with something in it.

    Raises:
        UnreadableImageError: when there is not.
    """
    if (window := window_of(path)) is not None:
        if not Path(window.file).exists():
            raise UnreadableImageError(window.file, "it does not exist")
        return
    if not Path(path).is_file():
        raise UnreadableImageError(path, "it does not exist" if not Path(path).exists() else "it is not a file")
    if Path(path).stat().st_size == 0:
        raise UnreadableImageError(path, "it is empty (0 bytes)")


def open_tiff(path: str | os.PathLike[str]) -> tifffile.TiffFile:
    """One file, without those that its OME-XML calls parts of the same series: they are images of their own."""
    return tifffile.TiffFile(path, _multifile=False)


def tiff_series(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The one image or stack in a TIFF.

    Raises:
        UnreadableImageError: when the file was cut off inside its chain of pages: the rest would be missing; when it
            states what it cannot hold.
        ImageError: when its pages differ in size or type, so that they are no stack; when its channels seem to be the
            columns of many slices.
    """
    _require_whole_chain(file)
    if not file.series:
        raise UnreadableImageError(file.filehandle.path, "it holds no image")
    if len(file.series) > 1:
        kinds = ", ".join(f"{series.shape} {series.dtype}" for series in file.series[:5])
        raise ImageError(
            file.filehandle.path, f"its pages differ in size or type ({kinds}); save them as separate files"
        )
    require_plausible_series(file, file.series[0])
    _require_planes(file.series[0], file.filehandle.path)
    return file.series[0]


def _require_planes(series: tifffile.TiffPageSeries, path: str) -> None:
    """Channels behind rows and columns, as Python often has them, are to a TIFF the columns of many slices."""
    width, height, slices, _ = (math.prod(series.shape[axis] for axis in axes) for axes in tiff_axes(series))
    if width <= _CHANNELS and min(height, slices) > _NO_CHANNELS:
        raise ImageError(
            path,
            f"its {slices} slices are {width} x {height} px: if {width} is the number of its channels, put them first "
            "(numpy.moveaxis(image, -1, 0)) and save it with tifffile's imagej=True, metadata={'axes': 'CYX'}",
        )


def tiff_axes(series: tifffile.TiffPageSeries) -> tuple[list[int], list[int], list[int], list[int]]:
    """Which axes of a TIFF's array are x, y, slices (any of z, time, page) and channels (samples, colours)."""
    groups: dict[str, list[int]] = {"x": [], "y": [], "slice": [], "channel": []}
    for axis, letter in enumerate(series.axes):
        groups[{"X": "x", "Y": "y", "S": "channel", "C": "channel"}.get(letter, "slice")].append(axis)
    if len(groups["x"]) != 1 or len(groups["y"]) != 1:
        raise ValueError(f"its axes {series.axes} are no image")
    return groups["x"], groups["y"], groups["slice"], groups["channel"]


def black_value(series: tifffile.TiffPageSeries) -> int | None:
    """The value of black where a TIFF stores white as 0."""
    page = series.keyframe
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE or series.dtype.kind not in "bu":
        return None
    return int(2 ** int(page.bitspersample) - 1)


def has_opacity(series: tifffile.TiffPageSeries) -> bool:
    """Whether the last sample of each pixel is its opacity, which is no channel of the image."""
    return "S" in series.axes and series.keyframe.extrasamples[-1:] in ((1,), (2,))


def _require_whole_chain(file: tifffile.TiffFile) -> None:
    """Follow the pages from the first to the last: readers stop silently where a truncated file breaks the chain."""
    handle, layout = file.filehandle, file.tiff
    handle.seek(8 if layout.is_bigtiff else 4)
    seen: set[int] = set()
    while True:
        link = handle.read(layout.offsetsize)
        offset = int.from_bytes(link, "little" if file.byteorder == "<" else "big")
        if len(link) == layout.offsetsize and offset == 0:
            return
        if len(link) < layout.offsetsize or offset in seen or offset >= handle.size:
            raise UnreadableImageError(handle.path, f"it is truncated or damaged after page {len(seen)}")
        seen.add(offset)
        handle.seek(offset)
        tags = int.from_bytes(handle.read(layout.tagnosize), "little" if file.byteorder == "<" else "big")
        handle.seek(offset + layout.tagnosize + tags * layout.tagsize)
