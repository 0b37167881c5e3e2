"""A table with a row for each number of a cell, on the disk: an image may hold more cells than memory does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np


class DiskTable:
    """Rows of whole numbers, all 0 at first. The file has no name and goes with the last process that has it open.

    It is mapped and let go at each access, so that what was touched does not count as memory of this process.

    Args:
        folder: on whose disk it is.
        rows, columns: its size; rows are counted from 0.

    Raises:
        OSError: when the disk has no room for it.
    """

    def __init__(self, folder: Path, rows: int, columns: int = 1) -> None:
        self.shape = (rows, columns)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as the table
        size = rows * columns * np.dtype(np.int64).itemsize
        # a page of a file with holes that finds no room on the disk would kill the process
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file.fileno(), 0, size)
        else:
            self._file.write(bytes(size))

    def _rows(self) -> np.ndarray:
        return np.memmap(self._file, np.int64, mode="r+", shape=self.shape)

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """The rows of these numbers, (..., columns)."""
        return np.array(self._rows()[numbers])

    def slab(self, start: int, stop: int) -> np.ndarray:
        """The rows from ``start`` to before ``stop``."""
        return np.array(self._rows()[start:stop])

    def put(self, numbers: np.ndarray, values: np.ndarray) -> None:
        """Replace rows, (n, columns) or, of one column, (n,)."""
        self._rows()[numbers] = np.reshape(values, (-1, self.shape[1]))

    def add(self, numbers: np.ndarray, values: np.ndarray) -> None:
        """Add to rows; a number may come several times."""
        np.add.at(self._rows(), numbers, np.reshape(values, (-1, self.shape[1])))

    def raise_to(self, numbers: np.ndarray, values: np.ndarray) -> None:
        """Replace values by greater ones; a number may come several times."""
        np.maximum.at(self._rows(), numbers, np.reshape(values, (-1, self.shape[1])))
