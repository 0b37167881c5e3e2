"""Volumes whose pixels can only be read from the first to the last, as those of .nii.gz: some slices at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np

from bundle.data.errors import ImageError, unreadable
from bundle.data.formats import META_IMAGE, NIFTI, extension, require_file
from bundle.data.meta_image import is_true, meta_header

_META_TYPES = {
    **{"MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_USHORT": "u2", "MET_SHORT": "i2", "MET_UINT": "u4", "MET_INT": "i4"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8", "MET_ULONG_LONG": "u8", "MET_LONG_LONG": "i8"},
}
#: bytes that are unpacked at a time
_PART = 2**20


@dataclass(frozen=True)
class SlicesInOrder:
    """A volume.

    Attributes:
        size: px along x, y, slices.
        channels: of a pixel.
        dtype: of the pixels; float32 where the file scales them.
        parts: some slices each, at most so many: (channels, slices, y, x).
    """

    size: tuple[int, int, int]
    channels: int
    dtype: np.dtype
    parts: Callable[[int], Iterator[np.ndarray]]


def slices_in_order(path: Path) -> SlicesInOrder:
    """A NIfTI or MetaImage, packed or not.

    Raises:
        UnreadableImageError: for a header that cannot be read; while reading, for pixels that are missing or damaged.
        ImageError: for another format, or axes that are no volume.
    """
    require_file(path)
    kind = extension(path)
    if kind not in (*NIFTI, *META_IMAGE):
        raise ImageError(path, f"NIfTI and MetaImage ({', '.join((*NIFTI, *META_IMAGE))}) can be converted")
    with unreadable(path):
        found = _nifti(path) if kind in NIFTI else _meta_image(path)
    if found.dtype.kind not in "iuf":
        raise ImageError(path, f"its pixels are {found.dtype}: save them as numbers")
    return replace(found, parts=lambda count: _told(path, found.parts(count)))


def _told(path: Path, parts: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    with unreadable(path, "its pixels are truncated or damaged"):
        yield from parts


def _nifti(path: Path) -> SlicesInOrder:
    # one open file: a packed one is unpacked once, and not from its beginning for each part
    pixels: Any = nibabel.load(path, keep_file_open=True).dataobj  # type: ignore[attr-defined]
    shape = tuple(int(n) for n in pixels.shape)
    if len(shape) not in (2, 3) and not (len(shape) > 3 and set(shape[3:]) == {1}):
        raise ImageError(path, f"its axes are {shape}: convert each time point or channel by itself")
    scaled = (pixels.slope, pixels.inter) != (1, 0)
    dtype = np.dtype(np.float32) if scaled else np.dtype(pixels.dtype).newbyteorder("=")
    depth = shape[2] if len(shape) > 2 else 1

    def parts(count: int) -> Iterator[np.ndarray]:
        for start in range(0, depth, count):
            some = np.asarray(pixels[:, :, start : start + count] if len(shape) > 2 else pixels[..., None])
            yield some.reshape(*shape[:2], -1).astype(dtype).T[None]

    return SlicesInOrder((shape[0], shape[1], depth), 1, dtype, parts)


def _meta_image(path: Path) -> SlicesInOrder:
    header = meta_header(path)
    said = header.fields
    shape = [int(n) for n in said["DimSize"].split()]
    if len(shape) not in (2, 3) or said["ElementType"] not in _META_TYPES:
        raise ImageError(path, f"it has {len(shape)} axes of {said['ElementType']}: an image has 2 or 3, of numbers")
    if not is_true(said.get("BinaryData", "True")):
        raise ImageError(path, "its pixels are written as text (BinaryData = False): save it with binary ones")
    before = int(said.get("HeaderSize", 0))
    if before < 0:
        raise ImageError(path, f"HeaderSize must be at least 0, got {before}: write where its pixels begin")
    big = any(is_true(said.get(key, "")) for key in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
    stored = np.dtype((">" if big else "<") + _META_TYPES[said["ElementType"]])
    channels = int(said.get("ElementNumberOfChannels", 1))
    x, y, depth = (*shape, 1)[:3]

    def parts(count: int) -> Iterator[np.ndarray]:
        with header.file.open("rb") as file:
            file.seek(header.start or before)
            read = _unpacked(file) if header.is_packed else file.read
            for start in range(0, depth, count):
                slices = min(count, depth - start)
                length = slices * y * x * channels * stored.itemsize
                content = read(length)
                if len(content) < length:
                    raise EOFError(f"there are fewer than {depth} slices")
                some = np.frombuffer(content, stored).reshape(slices, y, x, channels)
                yield np.moveaxis(some, -1, 0).astype(stored.newbyteorder("="))

    return SlicesInOrder((x, y, depth), channels, stored.newbyteorder("="), parts)


def _unpacked(file: BinaryIO) -> Callable[[int], bytes]:
    """What reads from a zlib or gzip stream, as ``file.read`` does."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    left = bytearray()

    def read(length: int) -> bytes:
        while len(left) < length:
            part = stream.unconsumed_tail or file.read(_PART)
            if not part or stream.eof:
                break
            left.extend(stream.decompress(part, _PART))
        found = bytes(left[:length])
        del left[:length]
        return found

    return read
