"""Equation (2) of the paper: ours, the recipes in circulation, and a single distance transform as a yardstick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from benchmarks.memory import MIB, peak_memory
from benchmarks.samples import cells
from benchmarks.targets import Target, at_least, at_most
from benchmarks.timing import Options, Table, Timing, interleave, require, timing_table
from transforms import WeightMap

#: the paper's
W0, SIGMA = 10.0, 5.0
#: px around a cell beyond which its border term is below 4e-5
REACH = int(5 * SIGMA)

#: cells -> least ratio of the usual recipe's time to ours, at 512 px
LEAST_RATIO = {50: 30.0, 200: 190.0, 1000: 2000.0}
OURS, STACK, EDT = "WeightMap", "one EDT a cell, stack, sort", "a single EDT, no weights"
CROPPED = f"one EDT a cell, cropped at {REACH} px"

Distances = tuple[np.ndarray, np.ndarray]


def stack_and_sort(instances: np.ndarray) -> Distances:
    """The usual recipe: a distance transform a cell, all of them stacked and sorted."""
    numbers = np.unique(instances[instances > 0])
    ordered = np.sort(np.stack([distance_transform_edt(instances != number) for number in numbers]), axis=0)
    return ordered[0], ordered[1]


def two_smallest(instances: np.ndarray) -> Distances:
    """The same without the stack: keep the two smallest of what has been seen."""
    d1, d2 = np.full((2, *instances.shape), np.inf)
    for number in np.unique(instances[instances > 0]):
        _insert(d1, d2, distance_transform_edt(instances != number))
    return d1, d2


def cropped(instances: np.ndarray) -> Distances:
    """An approximation: a distance transform a cell, only as far as the border term reaches."""
    d1, d2 = np.full((2, *instances.shape), np.inf)
    for number, box in enumerate(find_objects(instances), 1):
        around = tuple(slice(max(0, side.start - REACH), side.stop + REACH) for side in box)
        _insert(d1[around], d2[around], distance_transform_edt(instances[around] != number))
    return d1, d2


def _insert(d1: np.ndarray, d2: np.ndarray, distance: np.ndarray) -> None:
    np.minimum(d2, np.maximum(d1, distance), out=d2)
    np.minimum(d1, distance, out=d1)


def weights(instances: np.ndarray, distances: Callable[[np.ndarray], Distances]) -> np.ndarray:
    """Equation (2) with balanced classes: HW float32."""
    d1, d2 = distances(instances)
    share = np.mean(instances > 0)
    balance = np.where(instances > 0, 0.5 / share, 0.5 / (1 - share))
    return (balance + W0 * np.exp(-((d1 + d2) ** 2) / (2 * SIGMA**2))).astype(np.float32)


def run(
    options: Options, size: int = 512, counts: Sequence[int] = (50, 200, 1000), large: tuple[int, int] = (2048, 2000)
) -> Iterator[Table]:
    """A table for each number of cells, one for a large image (px, cells), one of memory.

    A distance transform a cell takes seconds from some hundred cells on: with ``full`` it is timed there, once.
    """
    for count in counts:
        instances = _sample(size, count, options.seed)
        peers = {STACK: stack_and_sort, "one EDT a cell, two smallest kept": two_smallest, CROPPED: cropped}
        if count > 200 and not options.full:
            peers = {CROPPED: cropped}
        timings = _timed(instances, peers, 1 if options.full and count > 200 else options.few)
        yield _table(f"weight map, {size} x {size} px, {count} cells", timings, count, 2.0 if count >= 200 else None)
    size, count = large
    timings = _timed(_sample(size, count, options.seed), {CROPPED: cropped}, options.few)
    yield _table(f"weight map, {size} x {size} px, {count} cells", timings, count, 1.2)
    yield _memory(options, counts)


def _sample(size: int, count: int, seed: int) -> np.ndarray:
    instances = cells(size, count, seed)
    require(len(np.unique(instances)) == count + 1, f"the sample of {count} cells holds another number of them")
    return instances


def _timed(
    instances: np.ndarray, peers: Mapping[str, Callable[[np.ndarray], Distances]], repeats: int
) -> dict[str, Timing]:
    ours = WeightMap(w0=W0, sigma=SIGMA)
    expected = ours(instances[None])[0]
    for name, distances in peers.items():
        error = np.abs(weights(instances, distances) - expected).max()
        require(error < 1e-4, f"{name}: weights differ from ours by {error:.2g}")
    contenders: dict[str, Callable[[], object]] = {OURS: partial(ours, instances[None])}
    for name, distances in peers.items():
        contenders[name] = partial(weights, instances, distances)
    contenders[EDT] = partial(distance_transform_edt, instances == 0)
    return interleave(contenders, repeats, warm_up=repeats > 1)  # the check has warmed all up


def _table(title: str, timings: Mapping[str, Timing], count: int, most_edts: float | None) -> Table:
    part, targets = title.replace(", ", " ", 1), []
    if STACK in timings and count in LEAST_RATIO:
        targets.append(at_least(part, STACK, timings[STACK].ratio, LEAST_RATIO[count]))
    if most_edts is not None:
        targets.append(at_most(part, "a single EDT", 1 / timings[EDT].ratio, most_edts))
    return timing_table(title, timings, targets)


def _memory(options: Options, counts: Sequence[int], size: int = 512) -> Table:
    """Peak memory of ours and, unless it takes GiB, of the stack, with few cells and with many."""
    few, many = min(counts), max(counts)
    cases = [(OURS, few), (OURS, many), (STACK, few), *([(STACK, many)] if options.full else [])]
    peaks = {case: peak_memory("weight_map", which=case[0], size=size, count=case[1]) for case in cases}
    rows = [
        [which, f"{count}", "not known here", ""]
        if peak is None
        else [which, f"{count}", f"{peak / MIB:.1f}", f"{peak / size**2:.0f}"]
        for (which, count), peak in peaks.items()
    ]
    small, large = peaks[OURS, few], peaks[OURS, many]
    targets: list[Target] = []
    if small and large:
        targets.append(at_most(f"memory of {OURS}, {many} cells", f"itself, {few} cells", large / small, 1.25))
    return Table(f"peak memory, {size} x {size} px", ("", "cells", "MiB", "bytes a pixel"), rows, targets)


def prepared(which: str, size: int, count: int) -> Callable[[], object]:
    """For :func:`benchmarks.memory.peak_memory`."""
    ours = WeightMap(w0=W0, sigma=SIGMA)
    work: Callable[[np.ndarray], object] = (
        (lambda instances: ours(instances[None])) if which == OURS else partial(weights, distances=stack_and_sort)
    )
    work(cells(32, 4))
    return partial(work, cells(size, count))
