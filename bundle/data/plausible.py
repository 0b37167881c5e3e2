"""What the header of a file states against what the file can hold, before anything is allocated for it.

Readers believe headers: one of 400 bytes that states 65500 x 65500 px takes gigabytes, and minutes, before it is
refused. A damaged gzip member, or a TIFF strip beyond the end of the file, gives wrong pixels without an error.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from typing import Any, cast

import psutil
import tifffile

from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.meta_image import meta_header

#: bytes that one byte of a file can become: deflate 1032, LZW 1350 with strings of 4000, JPEG 512
_MOST = 1400
#: TIFF compressions of which that is true; fax, LZMA, Zstandard, WebP and others are bounded by the memory alone
_BOUNDED = (1, 5, 7, 8, 32773, 32946)
#: of these, what states no size of its own
_BARE = (1, 5, 8, 32773, 32946, 34925, 50000)
#: bytes at the start of a file or segment in which its size stands
_HEADER = 2**16


def require_plausible(path: str | os.PathLike[str], stated: int, held: int, shape: Sequence[int]) -> None:
    """Check that a file can hold the image that its header states.

    Args:
        stated: bytes of its pixels.
        held: bytes of the file.
        shape: px, for the message.

    Raises:
        UnreadableImageError: for an axis of 0 px, or when even the best compression could not make so many of so few.
    """
    size = " x ".join(map(str, shape))
    if not shape or min(shape) < 1:
        raise UnreadableImageError(path, f"it is damaged: its header states {size or 'no'} px")
    if stated > _MOST * max(held, 1):
        raise UnreadableImageError(
            path, f"it is damaged: its header states {size} px, its {held} bytes cannot hold them"
        )


def require_room(path: str | os.PathLike[str], shape: Sequence[int], itemsize: int) -> None:
    """Check that an image fits into the free memory.

    Args:
        shape: px, channels included.
        itemsize: bytes of a pixel, as stored and as read together.

    Raises:
        ImageError: naming what it needs and what is free.
    """
    needed, free = math.prod(shape) * itemsize, psutil.virtual_memory().available
    if needed > free:
        size = " x ".join(map(str, shape))
        raise ImageError(
            path, f"its {size} px need {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free: cut it"
        )


def require_deflated(path: str | os.PathLike[str], most: int) -> None:
    """Check the check sum of a gzip file of at most ``most`` bytes, unpacked; nibabel does not read it.

    Raises:
        OSError, EOFError, zlib.error: when it is damaged or truncated.
        UnreadableImageError: when there is more in it.
    """
    found = 0
    with gzip.open(path) as file:
        while part := file.read(2**20):
            found += len(part)
            if found > most:
                raise _unlike_its_header(path, "more")


def _unlike_its_header(path: str | os.PathLike[str], what: str) -> UnreadableImageError:
    return UnreadableImageError(path, f"it is damaged: {what} is packed in it than its header states")


def packed_bits(path: str | os.PathLike[str]) -> int:
    """Bits of a pixel in a PNG, which readers make 8, 16 or 24 of."""
    with open(path, "rb") as file:
        depth, colour = file.read(26)[24:26]
    return depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]


def meta_image_bytes(path: str | os.PathLike[str], unpacked: int | None = None) -> int:
    """Bytes of the pixels of a MetaImage in the file that has them.

    Args:
        path: of the header.
        unpacked: bytes of its pixels; if they are compressed, it is checked that they are so many and undamaged, which
            ITK does not.

    Raises:
        UnreadableImageError: as :func:`bundle.data.meta_image.meta_header`; when there are more or less pixels in it.
        zlib.error: when they are damaged.
    """
    header = meta_header(path)
    size = header.fields.get("CompressedDataSize", "0")
    if not size.isdigit() or int(size) > header.held:
        raise UnreadableImageError(path, "it is truncated: its CompressedDataSize is more than there is")
    if unpacked is not None and header.is_packed:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib or gzip
        # with the one byte more, the check sum behind the last one is read
        found = len(stream.decompress(header.file.read_bytes()[header.start :], unpacked + 1))
        if found > unpacked or stream.unconsumed_tail:
            raise _unlike_its_header(path, "more")
        if not stream.eof:
            raise EOFError("the compressed pixels are truncated")
        if found < unpacked:
            raise _unlike_its_header(path, "less")
    return header.held


def require_plausible_series(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """:func:`require_plausible` for the image or stack in a TIFF."""
    page: Any = series.keyframe
    bits = series.size * int(page.bitspersample) if page.compression in _BOUNDED else 0
    require_plausible(file.filehandle.path, bits // 8, file.filehandle.size, series.shape)


def require_segments(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Check that all strips or tiles of a TIFF are there, lie within it, and are of the size that it states.

    Raises:
        UnreadableImageError: naming the file.
    """
    path, held, page = file.filehandle.path, file.filehandle.size, cast(Any, series.keyframe)
    most = max(2**24, page.size)  # px
    if page.is_tiled and page.tilewidth * page.tilelength * page.tiledepth > most:
        raise UnreadableImageError(path, f"it is damaged: its tiles are {page.tilewidth} x {page.tilelength} px")
    if series.dataoffset is not None:
        return  # one stretch of pixels, which is not read in part
    for each in series.pages:
        places = [] if each is None else list(zip(each.dataoffsets, each.databytecounts, strict=False))
        there = sum(offset > 0 and count > 0 for offset, count in places)
        if there < math.prod(page.chunked):
            raise UnreadableImageError(path, f"it is incomplete: {there} of {math.prod(page.chunked)} parts are there")
        for offset, count in places:
            if offset + count > held:
                raise UnreadableImageError(path, f"it is truncated: its pixels end at byte {offset + count} of {held}")
            if page.compression not in _BARE:
                file.filehandle.seek(offset)
                width, height = _embedded_size(file.filehandle.read(min(count, _HEADER)))
                if width * height > most:
                    raise UnreadableImageError(path, f"it is damaged: a part of it states {width} x {height} px")


def _embedded_size(segment: bytes) -> tuple[int, int]:
    """What a JPEG or a JPEG 2000 codestream states, px; (0, 0) for anything else."""
    start = segment.find(b"\xff\x4f\xff\x51")
    if start >= 0 and len(segment) >= start + 16:
        return struct.unpack(">II", segment[start + 8 : start + 16])
    at = 2 if segment.startswith(b"\xff\xd8") else len(segment)
    while at + 9 <= len(segment) and segment[at] == 0xFF:
        kind, length = segment[at + 1], int.from_bytes(segment[at + 2 : at + 4], "big")
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", segment[at + 5 : at + 9])
            return width, height
        at += 1 if kind == 0xFF else 2 + length
    return 0, 0
