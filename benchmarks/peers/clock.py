"""Training for so many minutes of a core, whatever a step costs; imports the standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator


def timed_steps(minutes: float, now: Callable[[], float] = time.process_time) -> Iterator[float]:
    """Progress at the start of every step, until the time is over.

    The clock runs from the first step. The last one ends, at the mean pace so far, as near to the end as whole steps
    allow: at most half a step before or after it. There is always one.

    Args:
        minutes: of CPU time of this process, all its threads together, above 0: so what else the machine does takes
            nothing away from one program or another.
        now: seconds, for tests.

    Yields:
        elapsed time over all time, in [0, 1): what a learning rate's schedule follows.

    Raises:
        ValueError: for ``minutes`` of 0 or less.
    """
    if not minutes > 0:
        raise ValueError(f"minutes must be above 0, got {minutes}")
    budget = 60.0 * minutes
    start, elapsed, steps = now(), 0.0, 0
    while steps == 0 or elapsed + elapsed / steps / 2 < budget:
        yield elapsed / budget
        steps += 1
        elapsed = now() - start
