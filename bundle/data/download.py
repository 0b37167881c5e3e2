"""Fetch the public data sets the paper was measured on: ``python -m bundle.data.download NAME --dest DIR``.

An interrupted download resumes where it stopped; nothing appears under its name before it is complete, verified
and unpacked. The addresses and checksums come from the pages and tools named beside them; they could not be tried
where this was written, for want of a network.
"""

from __future__ import annotations

import argparse
import errno
import http.client
import os
import shutil
import stat
import sys
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from bundle.atomic import remove_leftovers, replacing, require_writable, sha256
from bundle.data.dsb2018 import join_masks
from bundle.data.errors import ImageError

_CHUNK = 1 << 20
_TIMEOUT_S = 60
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES)


class DownloadError(RuntimeError):
    """A data set that could not be fetched, in one sentence."""


@dataclass(frozen=True)
class Source:
    """Where a data set is and under which terms.

    Attributes:
        url: of a zip archive.
        sha256: of that archive; None when nobody published it.
        terms: licence or conditions of use.
        prepare: called with the unpacked folder before it gets its name.
    """

    url: str
    sha256: str | None
    terms: str
    prepare: Callable[[Path], None] | None = None


_CTC = "https://data.celltrackingchallenge.net/training-datasets"
_CTC_TERMS = (
    "Conditions of the Cell Tracking Challenge (celltrackingchallenge.net/datasets): acknowledge it and cite its "
    "Nature Methods paper; other scientific use needs the consent of the data's providers, commercial use also "
    "that of the organisers."
)
SOURCES = {
    # address: imagej.net/events/isbi-2012-segmentation-challenge; no checksum published
    "isbi2012": Source(
        "https://downloads.imagej.net/ISBI-2012-challenge.zip",
        None,
        "Free for generating or testing non-commercial image segmentation software; publications must cite TrakEM2 "
        "and Cardona et al., PLoS Biology 8(10): e1000502, 2010.",
    ),
    # addresses: celltrackingchallenge.net; checksums: as the library torch-em expects them
    "dic-hela": Source(
        f"{_CTC}/DIC-C2DH-HeLa.zip", "832fed2d05bb7488cf9c51a2994b75f8f3f53b3c3098856211f2d39023c34e1a", _CTC_TERMS
    ),
    "phc-u373": Source(
        f"{_CTC}/PhC-C2DH-U373.zip", "b18185c18fce54e8eeb93e4bbb9b201d757add9409bbf2283b8114185a11bc9e", _CTC_TERMS
    ),
    # address: bbbc.broadinstitute.org/BBBC038; no checksum published
    "dsb2018": Source(
        "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
        None,
        "CC0 1.0, image set BBBC038v1 of the Broad Bioimage Benchmark Collection; please cite Caicedo et al., Nature "
        "Methods 16, 2019.",
        join_masks,
    ),
}


def download(name: str, dest: Path, sources: Mapping[str, Source] = SOURCES) -> Path:
    """Fetch, verify and unpack one data set, unless it is there.

    Args:
        name: a key of ``sources``.
        dest: parent folder; made when missing.

    Returns:
        ``dest/name``; a single folder around everything in the archive is dropped.

    Raises:
        ValueError: for an unknown name.
        DownloadError: when there is no network, the server refuses, the connection breaks (run again to resume),
            the checksum differs, or the archive is damaged or reaches outside its folder.
        OSError: when ``dest`` cannot be written; what is there of the archive stays.
    """
    if name not in sources:
        raise ValueError(f"name must be one of {', '.join(sources)}, got {name!r}")
    source, folder, archive = sources[name], dest / name, dest / f"{name}.zip"
    if folder.is_dir():
        return folder
    require_writable(dest, "dest")
    remove_leftovers(dest)
    if not archive.is_file():
        part = dest / f"{name}.zip.part"
        _fetch(source.url, part)
        _verify(part, source)
        part.replace(archive)
    try:
        with replacing(folder) as draft:
            _unpack(archive, draft)
            if source.prepare:
                source.prepare(draft)
    except (DownloadError, ImageError) as error:
        archive.unlink()
        raise DownloadError(f"the archive from {source.url} cannot be used: {error}") from error
    archive.unlink()
    return folder


def _fetch(url: str, part: Path) -> None:
    """Download into ``part``, going on after what is there already."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "seamless-unet"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            resumed = response.status == 206
            if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise DownloadError(f"{url} answered with another part than asked for; remove {part} and run again")
            length = response.headers.get("Content-Length")
            total = int(length) + (have if resumed else 0) if length else None
            with (
                open(part, "ab" if resumed else "wb") as file,
                tqdm(total=total, initial=file.tell(), unit="B", unit_scale=True, disable=None) as bar,
            ):
                while chunk := response.read(_CHUNK):
                    bar.update(file.write(chunk))
    except urllib.error.HTTPError as error:
        # asked for the bytes after the last one: a complete part that nobody had time to rename
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return
        raise DownloadError(f"{url} answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"{url} cannot be reached ({error.reason}): is there a network?") from error
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in _OF_THE_DISK:
            told = f"{part} cannot be written ({os.strerror(error.errno)})"  # type: ignore[union-attr, arg-type]
            raise DownloadError(f"{told}: see to that and run again to resume") from error
        raise DownloadError(f"the download of {url} broke off ({error}): run again to resume") from error
    if total is not None and part.stat().st_size != total:
        raise DownloadError(f"{url} broke off after {part.stat().st_size} of {total} bytes: run again to resume")


def _verify(part: Path, source: Source) -> None:
    if source.sha256 is None:
        print(f"not verified: no checksum of {source.url} is published", file=sys.stderr)
        return
    found = sha256(part)
    if found != source.sha256:
        part.unlink()
        raise DownloadError(
            f"{source.url} has the sha256 {found}, {source.sha256} was expected: it is damaged or was replaced"
        )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip into a new folder; no member may lie outside it."""
    try:
        with zipfile.ZipFile(archive) as file:
            members = [m for m in file.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            paths = [_inside(member) for member in members]
            around = {path.parts[0] for path in paths}
            drop = 1 if len(around) == 1 and all(len(path.parts) > 1 for path in paths) else 0
            for member, path in zip(members, paths, strict=True):
                target = folder.joinpath(*path.parts[drop:])
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as packed, open(target, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(f"it is no complete zip archive ({error})") from error
    if not folder.is_dir():
        raise DownloadError("it is empty")


def _inside(member: zipfile.ZipInfo) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    link = stat.S_ISLNK(member.external_attr >> 16)
    if link or path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
        raise DownloadError(f"its member {member.filename!r} would lie outside the folder")
    return path


def main(arguments: Sequence[str] | None = None, sources: Mapping[str, Source] = SOURCES) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bundle.data.download", description="Fetch a public data set, resuming where it stopped."
    )
    parser.add_argument("name", choices=sorted(sources))
    parser.add_argument("--dest", type=Path, required=True, help="folder under which NAME/ is made")
    options = parser.parse_args(arguments)
    print(f"{options.name}: {sources[options.name].terms}")
    try:
        folder = download(options.name, options.dest, sources)
    except (DownloadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
