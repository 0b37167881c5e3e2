"""Running a study: each training and its evaluations by the bundle's command line; completed runs are skipped."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from bundle.studies import commands
from bundle.studies.definition import Run, Study
from bundle.studies.places import Places
from bundle.studies.processes import CommandError, Processes, sigterm_as_interrupt
from bundle.tracking import earlier_run_id

__all__ = ["StudyRunner"]


class StudyRunner:
    """Runs what is missing of a study.

    A training is complete when its ``model.pt`` is there, an evaluation when its ``summary.csv`` is. A training that
    was interrupted is resumed.

    Args:
        study: what is run.
        places: where its runs are.
        parent: id of the study's run in MLflow.
        processes: runs the commands.
        jobs: trainings at a time.
        minutes: after which no further training begins; None for no end.
        launcher: what stands before the run id in a command line; none is ``python -m monai.bundle run``.
        say: prints a line.
    """

    def __init__(
        self,
        study: Study,
        places: Places,
        parent: str,
        processes: Processes,
        jobs: int = 1,
        minutes: float | None = None,
        launcher: Sequence[str] = (),
        say: Callable[[str], Any] = print,
    ) -> None:
        self.study = study
        self.places = places
        self.parent = parent
        self.processes = processes
        self.jobs = jobs
        self.launcher = launcher
        self.say = say
        self._end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")

    def run(self, runs: Sequence[Run], after: Callable[[], object] = lambda: None) -> tuple[list[Run], list[Run]]:
        """Run them in their order.

        Args:
            runs: of the study.
            after: called when one of them is done, in the calling thread.

        Returns:
            the runs that failed, and those left for later.

        Raises:
            KeyboardInterrupt: on Ctrl-C or SIGTERM, after the commands in work have ended.
        """
        failed, left = [], []
        with sigterm_as_interrupt(), ThreadPoolExecutor(self.jobs) as pool:
            numbers = {run: f"[{number}/{len(runs)}] {run.name}" for number, run in enumerate(runs, 1)}
            futures: dict[Future[bool], Run] = {pool.submit(self._complete, run, numbers[run]): run for run in runs}
            waiting = set(futures)
            try:
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        try:
                            if not future.result():
                                left.append(futures[future])
                        except CommandError as error:
                            failed.append(futures[future])
                            self.say(f"{numbers[futures[future]]} failed, {error}")
                    after()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.processes.stop()
                raise
        order = list(runs)
        return sorted(failed, key=order.index), sorted(left, key=order.index)

    def _complete(self, run: Run, title: str) -> bool:
        """Do what is missing of a run; False when its training is left for later."""
        if not self.places.model_file(run).is_file():
            if time.monotonic() >= self._end:
                return False
            resume = self.places.run_dir(run).exists()
            self._call(
                commands.training(self.study, run, self.places, self.parent, resume),
                run,
                f"{title}: training{' resumes' if resume else ''}",
            )
        for averaging in self.study.averaging_of(run.variant):
            folder = self.places.evaluation_dir(run, self.study.part, averaging)
            if not (folder / "summary.csv").is_file():
                parent = earlier_run_id(self.places.run_dir(run))
                self._call(
                    commands.evaluation(self.study, run, averaging, self.places, parent),
                    run,
                    f"{title}: evaluation, {self.study.part}, averaging {averaging}",
                )
        return True

    def _call(self, command: commands.Command, run: Run, title: str) -> None:
        words = command.words(*self.launcher)
        self.say(f"{title}\n    {shlex.join(words)}")
        start = time.monotonic()
        self.processes.call(words, self.places.log(run))
        self.say(f"{title}: done in {(time.monotonic() - start) / 60:.1f} min")
