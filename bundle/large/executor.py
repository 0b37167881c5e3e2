"""Blocks one after the other: those that are done are left out, one that cannot be done does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tqdm import tqdm

from bundle.data.errors import image_error, shortage
from bundle.large.markers import Markers

__all__ = ["run_blocks"]

logger = logging.getLogger(__name__)

#: names of blocks in a message
_NAMED = 5


def run_blocks(
    stage: str, count: int, work: Callable[[int], object], markers: Markers, require_there: Callable[[], None]
) -> int:
    """Do the blocks of a stage that are not done.

    A block that fails by itself (a part of the image that is damaged, too little memory) is tried twice and left out;
    what concerns all of them (a full disk, a store that has gone) stops the job.

    Args:
        stage: what is done, for the progress bar.
        count: of blocks.
        work: computes and writes one.
        markers: of this stage.
        require_there: checks that image and result are still there.

    Returns:
        how many had been done before.

    Raises:
        RuntimeError: naming the blocks that failed, or what stopped the job; what is done is kept.
    """
    failed: dict[int, str] = {}
    before = 0
    for number in tqdm(range(count), desc=stage, unit="block", disable=None if count > 1 else True):
        if markers.is_done(number):
            before += 1
            continue
        try:
            reason = _tried_twice(number, work, markers, require_there)
        except OSError as error:
            short = shortage(error)
            raise RuntimeError(
                f"stopped at block {number} of {count} of the {stage}: {short or error}. The finished blocks are kept. "
                "Make room, or connect the drive again, and repeat the command"
            ) from error
        if reason is not None:
            logger.error("block %d of the %s is left out: %s", number, stage, reason)
            failed[number] = reason
    if failed:
        named = "; ".join(f"block {number}: {reason}" for number, reason in list(failed.items())[:_NAMED])
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise RuntimeError(
            f"{len(failed)} of {count} blocks of the {stage} could not be done ({named}{more}). The others are kept: "
            "the same command tries these again"
        )
    return before


def _tried_twice(
    number: int, work: Callable[[int], object], markers: Markers, require_there: Callable[[], None]
) -> str | None:
    """Why a block cannot be done; None when it is."""
    reason = ""
    for _ in range(2):
        try:
            require_there()
            markers.begin(number)
            work(number)
            markers.finish(number)
            return None
        except Exception as error:
            broken = image_error(error)
            short = shortage(error)
            if (
                broken is None
                and not (short and short.startswith("not enough memory"))
                and not isinstance(error, MemoryError)
            ):
                raise
            require_there()  # without the image nothing can be read: that is not the block's fault
            reason = str(broken) if broken is not None else str(short)
    return reason
