"""What a cluster would take, block by block, from costs measured on one machine: where it stops to become faster.

``python -m benchmarks.cluster_model`` prints the table of docs/clusters.md. Nothing is computed: workers are events.
The scheduler serves one request at a time, the store hands out its bandwidth in turn, a worker reads, computes and
writes one block after the other. The passes that one process does alone come before and after.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.timing import Table

WORKERS = (1, 8, 64, 512)


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes a second, measured by ``python -m benchmarks.cluster`` or assumed.

    Attributes:
        schedule: s that the scheduler and the coordinator are busy with a block (measured).
        store: B/s of the store for all together (assumed).
        link: B/s of one worker, and of the scheduler (assumed).
    """

    schedule: float
    store: float
    link: float


@dataclass(frozen=True)
class Job:
    """An image and a network.

    Attributes:
        name: for the table.
        blocks: how many.
        seconds: that one worker computes a block.
        reads, writes: bytes of a block.
        weights: bytes of the network, which each worker gets from the scheduler once.
        before, after: s of the passes that one process does alone: gray values; pyramids and cells.
    """

    name: str
    blocks: int
    seconds: float
    reads: float
    writes: float
    weights: float
    before: float
    after: float


def probability(job: Job, costs: Costs, workers: int) -> tuple[float, float, float]:
    """Time of all blocks in s, and the shares of it in which the scheduler and the store are busy."""
    scheduler = store = 0.0  # when each is free again
    asked = used = ended = 0.0
    left = job.blocks
    events: list[tuple[float, int, int]] = []
    for worker in range(workers):  # the network goes out to one after the other
        heapq.heappush(events, ((worker + 1) * job.weights / costs.link, worker, 0))
    while events:
        now, worker, step = heapq.heappop(events)
        if step == 0:
            if left == 0:
                continue
            left -= 1
            scheduler = max(now, scheduler) + costs.schedule
            asked += costs.schedule
            heapq.heappush(events, (scheduler, worker, 1))
        elif step == 2:
            heapq.heappush(events, (now + job.seconds, worker, 3))
        else:
            size = job.reads if step == 1 else job.writes
            store = max(now, store) + size / costs.store
            used += size / costs.store
            moved = max(store, now + size / costs.link)
            ended = max(ended, moved)
            heapq.heappush(events, (moved, worker, 2 if step == 1 else 0))
    return ended, asked / ended, used / ended


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster_model")
    parser.add_argument("--schedule", type=float, default=SCHEDULE, help="s of the scheduler for a block")
    parser.add_argument("--store", type=float, default=2e9, help="B/s of the store")
    parser.add_argument("--link", type=float, default=1e9, help="B/s of a worker and of the scheduler")
    options = parser.parse_args(arguments)
    costs = Costs(options.schedule, options.store, options.link)
    columns = ("image", "workers", "gray values", "network", "its workers busy", "scheduler", "store")
    rows = []
    for job in JOBS:
        for workers in WORKERS:
            ended, asked, used = probability(job, costs, workers)
            busy = job.blocks * job.seconds / (ended * min(workers, job.blocks))
            times = [f"{seconds / 3600:.3g} h" for seconds in (job.before, ended, job.after)]
            total = (job.before + ended + job.after) / 3600
            shares = [f"{busy:.0%}", f"{asked:.1%}", f"{used:.1%}"]
            rows.append([job.name, f"{workers}", *times[:2], *shares, times[2], f"{total:.3g} h"])
    print(Table("time of a cluster", (*columns, "cells, pyramids", "in all"), rows))


#: s that a block takes of which nothing is computed, see docs/clusters.md for this and what follows
SCHEDULE = 0.011
#: CPU s a million px of the passes of one process: gray values; pyramids; cells by threshold; extended and split
GRAY, PYRAMID, CELLS, SPLIT = 0.025, 0.018, 0.43, 1.7


def _job(name: str, blocks: int, side: int, axes: int, tile: float, tiles: int, margin: int, weights: float) -> Job:
    """Pixels of one byte; blocks of ``side`` px along each axis, of ``tiles`` tiles that take ``tile`` s each."""
    pixels = side**axes
    million = blocks * pixels / 1e6
    after = (2 * PYRAMID + CELLS) * million
    return Job(name, blocks, tiles * tile, (side + 2 * margin) ** axes, pixels, weights, GRAY * million, after)


JOBS = (
    _job("slide, 100,000 x 100,000 px", 53**2, 1920, 2, 2.48, 25, 92, 124e6),
    _job("volume, 10,000 blocks of 168 x 168 x 168 voxels", 10_000, 168, 3, 3.13, 8, 44, 5.6e6),
)

if __name__ == "__main__":
    main()
