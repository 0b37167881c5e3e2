"""A short name for exactly these data, to be written beside every result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bundle.atomic import sha256
from bundle.data.errors import ImageError
from bundle.data.item import FILES, Item
from bundle.data.loading import LoadSlice

__all__ = ["IMAGES_BY", "fingerprint", "image_fingerprints", "run_fingerprint"]

#: what :func:`image_fingerprints` goes by; digits of another kind cannot be compared with its own
IMAGES_BY = "pixels"


def fingerprint(items: Iterable[Item]) -> str:
    """Hash the content of all files of a datalist.

    It does not depend on where the files lie, nor on the order of the items; it changes with any byte of any file,
    any name and any slice number. Each file is read once.

    Args:
        items: datalist.

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
                contents[path] = _content(Path(path))
        hashes = [[key, contents[path]] for key, path in files.items()]
        rows.append(json.dumps([item.get("name"), item.get("slice"), hashes]))
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:16]


def run_fingerprint(labelled: Sequence[Item], *parts: Sequence[Item]) -> str:
    """The fingerprint of the data behind a run: of the whole data set, what it holds out included.

    MONAI Label puts datalists of its own in place of a run's parts. What it feeds is then all there is.

    Args:
        labelled: datalist of the data set.
        parts: datalists that the run uses.

    Raises:
        FileNotFoundError: when a file is missing.
    """
    known = {(item["image"], item.get("label")) for item in labelled}
    used = [item for part in parts for item in part]
    return fingerprint(labelled if all((item["image"], item.get("label")) in known for item in used) else used)


def image_fingerprints(items: Iterable[Item]) -> dict[str, str]:
    """The pixels of every image of a datalist, without its labels: name -> 16 hexadecimal digits.

    What counts are the grey values that a network would see. An image therefore keeps its digits under another name,
    saved again without loss, and as a page of another stack. A file that cannot be read counts by its bytes. Items
    without a name get their file's.

    Raises:
        FileNotFoundError: when a file is missing.
    """
    return {item.get("name", Path(item["image"]).name): _pixels(item["image"], item.get("slice")) for item in items}


def _pixels(path: str, index: int | None) -> str:
    try:
        array = np.asarray(LoadSlice(rgb="luminance", spatial_dims=None)(path, index)).squeeze()
    except ImageError:
        return hashlib.sha256(f"{_content(Path(path))} {index}".encode()).hexdigest()[:16]
    digest = hashlib.sha256(json.dumps(array.shape).encode())
    digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def _content(path: Path) -> str:
    digest = sha256(path)
    if path.suffix.lower() == ".mhd":
        # the header of a MetaImage; the pixels are in the file it names
        named = re.search(r"^ElementDataFile[ \t]*=[ \t]*(.+?)\s*$", path.read_text(errors="replace"), re.MULTILINE)
        if named and (path.parent / named[1]).is_file():
            digest += _content(path.parent / named[1])
    return digest
