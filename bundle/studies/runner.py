"""Running trials: each training and its evaluations by the bundle's command line; what is complete is skipped."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from math import inf

from bundle.studies.processes import CommandError, Processes, sigterm_as_interrupt
from bundle.studies.trial import Trial

_say = partial(print, flush=True)


def run_trials(
    trials: Sequence[Trial],
    parent: str,
    processes: Processes,
    minutes: float | None,
    launcher: Sequence[str],
    after: Callable[[], object],
) -> tuple[list[Trial], list[Trial]]:
    """Run what is missing of the trials of a study, in their order.

    Args:
        trials: of one study.
        parent: id of the study's run in MLflow.
        processes: runs the commands.
        minutes: after which no further training begins; None for no end.
        launcher: what stands before the run id in a command line; none is ``python -m monai.bundle run``.
        after: called when one of them is done, in the calling thread.

    Returns:
        the trials that failed, and those left for later.

    Raises:
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the commands in work have ended.
    """
    end = inf if minutes is None else time.monotonic() + 60 * minutes
    titles = {trial: f"[{number}/{len(trials)}] {trial.name}" for number, trial in enumerate(trials, 1)}

    def complete(trial: Trial) -> bool:
        """Do what is missing of a trial; False when its training is left for later."""
        if not trial.run.complete and time.monotonic() >= end:
            return False
        for what, command in trial.missing(parent):
            words, start = command.words(*launcher), time.monotonic()
            _say(f"{titles[trial]}: {what}\n    {shlex.join(words)}")
            processes.call(words, trial.log)
            _say(f"{titles[trial]}: {what}: done in {(time.monotonic() - start) / 60:.1f} min")
        return True

    failed, left = [], []
    with sigterm_as_interrupt(), ThreadPoolExecutor(processes.jobs) as pool:
        futures: dict[Future[bool], Trial] = {pool.submit(complete, trial): trial for trial in trials}
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
                        _say(f"{titles[futures[future]]} failed, {error}")
                after()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.stop()
            raise
    return sorted(failed, key=trials.index), sorted(left, key=trials.index)
