"""The blocks of a stage: those that are done are left out, one that cannot be done does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from tqdm import tqdm

from bundle.data.errors import image_error, shortage
from bundle.large.markers import Markers

logger = logging.getLogger(__name__)

#: names of blocks in a message
_NAMED = 5
#: seconds between two lines on the progress, where no terminal shows a bar
_OFTEN = 60.0


class Record(NamedTuple):
    """What is told of a block: its number and, where it is not done, why; or why the job stops there."""

    number: int
    failed: str = ""
    stopped: str = ""


@dataclass(frozen=True)
class Task:
    """What is to be done with the blocks of a stage. It can be pickled where its parts can.

    Attributes:
        stage: what is done, for messages.
        count: of blocks.
        work: computes and writes one. It may run twice, even at the same time, and must write the same bytes.
        markers: of this stage.
        require_there: checks that image and result are still there.
        memory: bytes that a process takes that does blocks, about.
        made_by: what of a machine decides about the last bits, as :func:`bundle.large.job.machine` names it.
    """

    stage: str
    count: int
    work: Callable[[int], object]
    markers: Markers
    require_there: Callable[[], None]
    memory: float = 0.0
    made_by: tuple[tuple[str, str], ...] = ()

    def __call__(self, number: int) -> Record:
        """Do a block that is not done.

        A block that fails by itself (a part of the image that is damaged, too little memory) is tried twice; what
        concerns all of them (a full disk, a store that has gone) stops the job.
        """
        if self.markers.is_done(number):
            return Record(number)
        try:
            return Record(number, failed=self._tried_twice(number))
        except OSError as error:
            return Record(number, stopped=shortage(error) or str(error))

    def _tried_twice(self, number: int) -> str:
        """Why a block cannot be done; empty when it is."""
        reason = ""
        for _ in range(2):
            try:
                self.require_there()
                self.work(number)
                self.markers.finish(number)
                return ""
            except Exception as error:
                broken = image_error(error)
                short = shortage(error)
                if (
                    broken is None
                    and not (short and short.startswith("not enough memory"))
                    and not isinstance(error, MemoryError)
                ):
                    raise
                self.require_there()  # without the image nothing can be read: that is not the block's fault
                reason = str(broken if broken is not None else short)
        return reason


class Executor(Protocol):
    """Where blocks are done."""

    @property
    def threads(self) -> int:
        """Threads of torch for one block: they decide about its last bits."""

    def run(self, task: Task, numbers: Iterable[int]) -> Generator[Record, None, None]:
        """Do these blocks, in any order; a record of each."""

    def close(self) -> None:
        """Let go of what :meth:`run` started."""


class Serial:
    """One block after the other in this process.

    Args:
        threads: of torch; None leaves them as they are.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads

    @property
    def threads(self) -> int:
        return self._threads or torch.get_num_threads()

    def run(self, task: Task, numbers: Iterable[int]) -> Generator[Record, None, None]:
        with torch_threads(self.threads):
            yield from map(task, numbers)

    def close(self) -> None:
        pass


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """So many threads of torch meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_blocks(task: Task, executor: Executor) -> int:
    """Do the blocks of a stage that are not done.

    Returns:
        how many had been done before.

    Raises:
        RuntimeError: naming the blocks that failed, or what stopped the job; what is done is kept.
    """
    done = task.markers.done(task.count)
    before = int(done.sum())
    failed: dict[int, str] = {}
    with closing(executor.run(task, map(int, np.flatnonzero(~done)))) as records:
        for record in _shown(task, before, records):
            if record.stopped:
                raise RuntimeError(
                    f"stopped at block {record.number} of {task.count} of the {task.stage}: {record.stopped}. The "
                    "finished blocks are kept. Make room, or connect the drive again, and repeat the command"
                )
            if record.failed:
                logger.error("block %d of the %s is left out: %s", record.number, task.stage, record.failed)
                failed[record.number] = record.failed
    if failed:
        named = "; ".join(f"block {number}: {failed[number]}" for number in sorted(failed)[:_NAMED])
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise RuntimeError(
            f"{len(failed)} of {task.count} blocks of the {task.stage} could not be done ({named}{more}). The others "
            "are kept: the same command tries these again"
        )
    return before


def _shown(task: Task, before: int, records: Iterator[Record]) -> Iterator[Record]:
    """The records, and how far they are: a bar on a terminal, elsewhere a line from time to time."""
    hidden = None if task.count > 1 else True
    bar = tqdm(records, desc=task.stage, unit="block", total=task.count, initial=before, disable=hidden)
    start = told = time.monotonic()
    for number, record in enumerate(bar, 1):
        yield record
        now = time.monotonic()
        if bar.disable and now - told > _OFTEN:
            told, rate = now, number / (now - start)
            left = (task.count - before - number) / rate / 60
            logger.info(
                "%s: %d of %d blocks, %.3g blocks/s, %.0f minutes left",
                *(task.stage, before + number, task.count, rate, left),
            )
