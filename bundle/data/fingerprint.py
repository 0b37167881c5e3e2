"""A short name for exactly these data, to be written beside every result."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bundle.atomic import sha256
from bundle.data.channel_names import are_colours
from bundle.data.errors import ImageError
from bundle.data.item import FILES, Item, Part, part_of
from bundle.data.load_slice import LoadSlice
from bundle.data.meta_image import meta_header
from bundle.data.ranges import is_range
from bundle.data.readers import read_image
from bundle.data.same_image import BETWEEN, Likeness, Sketch, most_alike_of, sketch_of
from bundle.data.stated_channels import stated_channels
from bundle.data.windows import file_of, window_of

#: what :func:`image_fingerprints` goes by
IMAGES_BY = "sketches"
#: what :func:`seen_images` can compare: its own, and the digits of earlier versions
READABLE = (IMAGES_BY, "pixels")


def fingerprint(items: Iterable[Item]) -> str:
    """Hash the content of all files of a datalist.

    It does not depend on where the files lie, nor on the order of the items; it changes with any byte of any file,
    any name and any slice number. Each file is read once.

    Returns:
        the first 16 hexadecimal digits of a sha256.

    Raises:
        FileNotFoundError: when a file is missing.
    """
    contents: dict[str, str] = {}
    rows = []
    for item in items:
        files = {key: item[key] for key in FILES if key in item}
        for path in files.values():
            if path not in contents:
                contents[path] = _content(path)
        hashes = [[key, contents[path]] for key, path in files.items()]
        rows.append(json.dumps([item.get("name"), part_of(item), hashes]))
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:16]


def run_fingerprint(labelled: Sequence[Item], *parts: Sequence[Item]) -> str:
    """The fingerprint of the data behind a run: of the whole data set, what it holds out included.

    MONAI Label puts datalists of its own in place of a run's parts. What it feeds is then all there is.

    Raises:
        FileNotFoundError: when a file is missing.
    """
    known = {(item["image"], item.get("label")) for item in labelled}
    used = [item for part in parts for item in part]
    return fingerprint(labelled if all((item["image"], item.get("label")) in known for item in used) else used)


class Seen(NamedTuple):
    """An item whose image is known under another name, perhaps; ``same`` or nearly so (by a correlation)."""

    item: Item
    name: str
    same: bool
    correlation: float


def image_fingerprints(items: Iterable[Item]) -> dict[str, str]:
    """The pixels of every image of a datalist, without its labels: name -> text of a sketch.

    What counts are the gray values that a network would see. An image is therefore known again under another name,
    saved again, and as a page of another stack, see :func:`seen_images`; a range of a volume by each of its slices. A
    file that cannot be read counts by its bytes, an image of a single gray value by exactly its pixels: 16 hexadecimal
    digits. Items without a name get their file's.

    Raises:
        FileNotFoundError: when a file is missing.
    """
    return {item.get("name", Path(item["image"]).name): image_fingerprint(item) for item in items}


def image_fingerprint(item: Item, by_slice: bool = False) -> str:
    """The text of one image, see :func:`image_fingerprints`; a volume is sketched whole, or ``by_slice``."""
    sketches = _sketches(item, by_slice or "slices" in item)
    return BETWEEN.join(each.text() for each in sketches) or _pixels(item["image"], part_of(item))


def seen_images(items: Iterable[Item], known: Mapping[str, str], by_slice: bool = False) -> list[Seen]:
    """Those of ``items`` that are among ``known`` images, or nearly.

    The same are images whose pixels differ by a linear change of the gray values (8 to 16 bit, brightness, contrast,
    inversion) and by turns of 90 degrees and flips; what such a change rounded does not matter. Of several channels
    one is enough, alone or in another order; colours count by their luminance. Nearly the same are
    those whose thumbnails correlate by 0.95 or more in one of the eight orientations: a changed pixel, some noise,
    blur, a few rows cropped; neighbours in a film, too. Where ranges of volumes are known, volumes are compared with
    them slice by slice.

    It cannot see a part of an image (a tile of it, a crop of more than about 2 % of its side), turns by other angles,
    elastic deformation, or another picture of the same specimen; nor near-copies of an image of a single gray value.

    Args:
        known: name -> text of :func:`image_fingerprints`, of this version or of one before.
        by_slice: ``known`` has volumes slice by slice, whatever their names say.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: for a text that is no fingerprint.
    """
    digits = {text: name for name, text in known.items() if re.fullmatch("[0-9a-f]{16}", text)}
    sketches = {name: text for name, text in known.items() if text not in digits}
    by_slice = by_slice or any(is_range(name) for name in known)
    found = []
    for item in items:
        exact = digits.get(_pixels(item["image"], part_of(item))) if digits else None
        if exact is not None:
            like: Likeness | None = Likeness(exact, True, 1.0)
        else:  # beside ranges, some volumes are known as a whole
            ways = {False, by_slice or "slices" in item}
            like = most_alike_of((each for way in ways for each in _sketches(item, way)), sketches)
        if like is not None:
            found.append(Seen(item, *like))
    return found


def _sketches(item: Item, by_slice: bool) -> tuple[Sketch, ...]:
    """One for each channel (and slice) that is not of a single value; of colours, that of their luminance."""
    status = os.stat(file_of(item["image"]))
    return _remember(item["image"], part_of(item), by_slice, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)  # 20 KB each channel; a training asks twice
def _remember(path: str, index: Part, by_slice: bool, modified_ns: int, size: int) -> tuple[Sketch, ...]:
    try:
        channels = list(_channels(path, index))
    except ImageError:
        return ()
    if by_slice and channels[0].ndim == 3:
        channels = [each for channel in channels for each in np.moveaxis(channel, -1, 0)]
    sketches = [sketch_of(channel.squeeze()) for channel in channels]
    return tuple(each for each in sketches if each is not None)


def _channels(path: str, index: Part) -> np.ndarray:
    """(C, x, y[, slices]); of colours the luminance."""
    select = "luminance" if are_colours(stated_channels(path).names) else "all"
    return np.asarray(LoadSlice(channels=select, spatial_dims=None)(path, index))


def _pixels(path: str, index: Part) -> str:
    try:
        array = _channels(path, index).squeeze()
    except ImageError:
        return hashlib.sha256(f"{_content(path)} {index}".encode()).hexdigest()[:16]
    digest = hashlib.sha256(json.dumps(array.shape).encode())
    digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def _content(name: str | os.PathLike[str]) -> str:
    if window_of(name) is not None:  # of a large image: its pixels alone
        return hashlib.sha256(np.asarray(read_image(str(name), np.dtype(np.float32))).tobytes()).hexdigest()
    path = Path(name)
    digest = sha256(path)
    if path.suffix.lower() == ".mhd":
        with suppress(ImageError):  # a header that names no pixels counts by itself
            digest += sha256(meta_header(path).file)
    return digest
