"""Equation (2) of the paper: ours, the recipes in circulation, and a single distance transform as a yardstick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from benchmarks.samples import cells
from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells
from transforms import WeightMap

__all__ = ["SIGMA", "W0", "run", "stack_and_sort", "weights"]

#: the paper's
W0, SIGMA = 10.0, 5.0
#: px around a cell beyond which its border term is below 4e-5
REACH = int(5 * SIGMA)

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


def run(options: Options, size: int = 512, counts: Sequence[int] = (50, 200)) -> Iterator[Table]:
    """One table for each number of cells; with ``full`` also 1000, for which the stack takes 4 GiB."""
    ours = WeightMap(w0=W0, sigma=SIGMA)
    for count in (*counts, 1000) if options.full else counts:
        instances = cells(size, count)
        require(len(np.unique(instances)) == count + 1, f"the sample of {count} cells holds another number of them")
        peers = {
            "one EDT a cell, stack, sort": stack_and_sort,
            "one EDT a cell, two smallest kept": two_smallest,
            f"one EDT a cell, cropped at {REACH} px": cropped,
        }
        expected = ours(instances[None])[0]
        for name, distances in peers.items():
            error = np.abs(weights(instances, distances) - expected).max()
            require(error < 1e-4, f"{name}: weights differ from ours by {error:.2g}")
        contenders: dict[str, Callable[[], object]] = {"WeightMap": partial(ours, instances[None])}
        for name, distances in peers.items():
            contenders[name] = partial(weights, instances, distances)
        contenders["a single EDT, no weights"] = partial(distance_transform_edt, instances == 0)
        timings = interleave(contenders, options.repeats)
        rows = [[name, *timing_cells(timing)] for name, timing in timings.items()]
        yield Table(f"weight map, {size} x {size} px, {count} cells", ("", *TIMING_COLUMNS), rows)
