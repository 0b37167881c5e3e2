"""What of a job is done, as files on the disk: whoever kills the job, none of them is wrong."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Markers"]

#: markers of a folder: file systems are slow with more
_FOLDER = 1000


class Markers:
    """The done markers of the blocks of one stage.

    The protocol of a block is: :meth:`begin` removes its marker and says that it is in flight; its chunks are deleted
    and written; :meth:`finish` says that they are all there. A process that is killed in between leaves a block without
    a marker, and that block is computed again.

    Args:
        folder: of the job's markers.
        stage: whose blocks are numbered from 0.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder = folder / stage

    def is_done(self, number: int) -> bool:
        return self._path("done", number).exists()

    def begin(self, number: int) -> None:
        self._path("done", number).unlink(missing_ok=True)
        flight = self._path("in_flight", number)
        flight.parent.mkdir(parents=True, exist_ok=True)
        flight.touch()

    def finish(self, number: int) -> None:
        done = self._path("done", number)
        done.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._path("in_flight", number), done)

    def _path(self, kind: str, number: int) -> Path:
        return self.folder / kind / str(number // _FOLDER) / str(number)
