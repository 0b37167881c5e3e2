"""What a job would be: its blocks, its time, and whether the disk holds its result."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from bundle.console import counted
from bundle.data.errors import ImageError
from bundle.data.stores import LazyImage
from bundle.geometry import BlockPlan
from bundle.large.result_store import Layout


def sizes_text(sizes: Sequence[int]) -> str:
    """
    >>> sizes_text((388, 384))
    '388 x 384'
    """
    return " x ".join(map(str, sizes))


def require_disk(path: str, layout: Layout, output_dir: Path) -> None:
    """Check that a result has room.

    Raises:
        ImageError: with what it takes and what is free.
    """
    free = shutil.disk_usage(output_dir).free
    if layout.bytes > free:
        fewer = ", or store the probability in fewer bits: --probability_dtype uint8"
        raise ImageError(
            path,
            f"its result takes up to {layout.bytes / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free in {output_dir}: "
            f"choose another output_dir{'' if layout.dtype == 'uint8' else fewer}",
        )


def tell_plan(
    image: LazyImage,
    plan: BlockPlan,
    slices: int | None,
    layout: Layout,
    run: Callable[[torch.Tensor], torch.Tensor],
    tile: torch.Tensor,
    turns: int,
    done: int,
) -> None:
    """Print blocks, disk and time.

    Args:
        image, plan, slices, layout: of the job.
        run: the network; it is timed.
        tile: one, of any content.
        turns: how often the image is segmented, each time turned.
        done: blocks that an earlier command has computed.
    """
    tiles, blocks = len(plan.plan) * (slices or 1), len(plan) * (slices or 1)
    run(tile).cpu()  # the first one prepares
    start = time.perf_counter()
    run(tile).cpu()
    left = (blocks - done) / blocks
    print(
        f"{image.path}: {sizes_text(image.size)} px in {counted(blocks, 'block')} of {sizes_text(plan.sizes)} px"
        f"{f', of which {done} are done' if done else ''}, {counted(tiles, 'tile')} of "
        f"{sizes_text(plan.plan.tile_size)} px; up to {layout.bytes / 2**30:.3g} GiB on the disk; about "
        f"{_duration((time.perf_counter() - start) * tiles * turns * left)} of one worker for the network alone, "
        "without start, gray values, cells and pyramids"
    )


def _duration(seconds: float) -> str:
    """
    >>> _duration(0.3), _duration(45), _duration(400), _duration(8000)
    ('1 second', '45 seconds', '6.7 minutes', '2.2 hours')
    """
    if seconds < 120:
        return counted(max(1, round(seconds)), "second")
    return f"{seconds / 3600:.1f} hours" if seconds > 7200 else f"{seconds / 60:.1f} minutes"
