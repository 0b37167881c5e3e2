"""What of a job is done, as files on the disk: whoever kills the job, none of them is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

#: markers of a folder: file systems are slow with more
_FOLDER = 1000


class Markers:
    """The done markers of the blocks of one stage.

    The chunks of a block are written, each whole or not at all; then :meth:`finish` says that they are all there. A
    process that is killed before leaves a block without a marker, and that block is computed again.

    Two processes may do one block at a time: a worker goes on for a while when its coordinator was killed, and dask
    gives a block away when it hears nothing of its worker. Both write the same bytes, and nobody ever takes a chunk or
    a done marker away, so that neither can undo what the other has done.

    Args:
        folder: of the job's markers.
        stage: whose blocks are numbered from 0.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder = folder / stage

    def is_done(self, number: int) -> bool:
        return self._path(number).exists()

    def done(self, count: int) -> np.ndarray:
        """Which of the blocks 0 .. ``count`` - 1 are done, (count,) bool; far faster than to ask for each."""
        found = np.zeros(count, bool)
        folder = self.folder / "done"
        for part in folder.iterdir() if folder.is_dir() else ():
            numbers = [int(name) for name in os.listdir(part)]
            found[[number for number in numbers if number < count]] = True
        return found

    def finish(self, number: int) -> None:
        done = self._path(number)
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()

    def _path(self, number: int) -> Path:
        return self.folder / "done" / str(number // _FOLDER) / str(number)
