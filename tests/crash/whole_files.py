"""Every file can be read to its end, and nothing half written is left."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
import torch
from PIL import Image

from bundle.model import checkpoints


def _text(path: Path) -> None:
    assert path.read_text(encoding="utf-8").endswith("\n")


def _page(path: Path) -> None:
    assert path.read_text(encoding="utf-8").endswith("</html>\n")


def _table(path: Path) -> None:
    _text(path)
    with path.open(newline="") as stream:
        head, *rows = csv.reader(stream)
    assert all(len(row) == len(head) for row in rows)


def _database(path: Path) -> None:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as opened:
        assert opened.execute("pragma integrity_check").fetchone() == ("ok",)


def _itk(path: Path) -> None:
    import itk

    itk.imread(str(path))


_READERS: dict[str, Callable[[Path], object]] = {
    ".pt": checkpoints.read,
    ".ts": lambda path: torch.jit.load(path),
    ".json": lambda path: json.loads(path.read_text()),
    ".csv": _table,
    ".html": _page,
    ".txt": _text,
    ".db": _database,
    ".png": lambda path: np.asarray(Image.open(path)),
    ".tif": tifffile.imread,
    ".gz": lambda path: np.asarray(nib.load(path).dataobj),
    ".mha": _itk,
}


def leftovers(folder: Path, below: bool = True) -> list[Path]:
    return sorted(folder.rglob(".*.part") if below else folder.glob(".*.part"))


def require_whole(folder: Path) -> None:
    """Read all that is not hidden; a file of an unknown kind is an error, too."""
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            try:
                _READERS[path.suffix](path)
            except Exception as error:
                raise AssertionError(f"{path} is no whole file: {type(error).__name__}: {error}") from error
