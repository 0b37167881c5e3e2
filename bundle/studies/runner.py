"""Running trials: each training and its evaluations by the bundle's command line; what is complete is skipped."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from bundle.studies.processes import CommandError, Processes, sigterm_as_interrupt
from bundle.studies.trial import Trial

__all__ = ["TrialRunner"]


class TrialRunner:
    """Runs what is missing of trials.

    Args:
        parent: id of the study's run in MLflow.
        processes: runs the commands.
        jobs: trainings at a time.
        minutes: after which no further training begins; None for no end.
        launcher: what stands before the run id in a command line; none is ``python -m monai.bundle run``.
        say: prints a line.
    """

    def __init__(
        self,
        parent: str,
        processes: Processes,
        jobs: int = 1,
        minutes: float | None = None,
        launcher: Sequence[str] = (),
        say: Callable[[str], Any] = print,
    ) -> None:
        self.parent = parent
        self.processes = processes
        self.jobs = jobs
        self.launcher = launcher
        self.say = say
        self._end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")

    def run(
        self, trials: Sequence[Trial], after: Callable[[], object] = lambda: None
    ) -> tuple[list[Trial], list[Trial]]:
        """Run them in their order.

        Args:
            trials: of one study.
            after: called when one of them is done, in the calling thread.

        Returns:
            the trials that failed, and those left for later.

        Raises:
            KeyboardInterrupt: on Ctrl-C or SIGTERM, after the commands in work have ended.
        """
        failed, left = [], []
        with sigterm_as_interrupt(), ThreadPoolExecutor(self.jobs) as pool:
            titles = {trial: f"[{number}/{len(trials)}] {trial.name}" for number, trial in enumerate(trials, 1)}
            futures: dict[Future[bool], Trial] = {
                pool.submit(self._complete, trial, title): trial for trial, title in titles.items()
            }
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
                            self.say(f"{titles[futures[future]]} failed, {error}")
                    after()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.processes.stop()
                raise
        order = list(trials)
        return sorted(failed, key=order.index), sorted(left, key=order.index)

    def _complete(self, trial: Trial, title: str) -> bool:
        """Do what is missing of a trial; False when its training is left for later."""
        if not trial.run.complete and time.monotonic() >= self._end:
            return False
        for what, command in trial.missing(self.parent):
            words, start = command.words(*self.launcher), time.monotonic()
            self.say(f"{title}: {what}\n    {shlex.join(words)}")
            self.processes.call(words, trial.log)
            self.say(f"{title}: {what}: done in {(time.monotonic() - start) / 60:.1f} min")
        return True
