"""Cells that are split or extended: the image is parted into zones that know nothing of each other.

The outside is all background that is connected to the edge of the image; what is left falls into zones. No cell, hole,
seed or flooding reaches from one zone into another, and none depends on the outside but by its place. So the cells
of a zone, in its own box with a px around it where the image goes on, are those of the whole image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
from scipy import ndimage as ndi

from bundle.cells import CellOptions, probability_to_instances
from bundle.large.cells.components import Components
from bundle.large.cells.grid import Grid, Plane, Spans, inside
from bundle.large.cells.whole import edge_numbers

__all__ = ["cells_of_zones"]


def cells_of_zones(
    grid: Grid,
    probability: Callable[[Spans], np.ndarray],
    options: CellOptions,
    stores: tuple[Plane, Plane],
    target: Plane,
    most_pixels: int,
) -> int:
    """All of ``probability_to_instances`` but closing gaps and the order of numbers, zone by zone.

    Args:
        grid: blocks of the image.
        probability: of a region.
        options: how cells are read.
        stores: uint32, overwritten.
        target: uint32, gets the numbers of the cells.
        most_pixels: of the box of a zone.

    Returns:
        the highest number.

    Raises:
        RuntimeError: for a larger zone.
    """
    axes = len(grid.size)
    dual = axes if options.connectivity == 1 else 1
    background = Components(grid, lambda spans: ~(probability(spans) > options.foreground), dual, stores[0])
    outside = np.zeros(background.count + 1, bool)
    for spans in grid:
        outside[edge_numbers(grid, spans, background.read(spans))] = True
    outside[0] = False
    zones = Components(grid, lambda spans: ~outside[background.read(spans)], axes, stores[1])
    low, high = _boxes(grid, zones)
    options = replace(options, close_gaps=0.0, spatial_dims=None)

    def cells_of(spans: Spans, wanted: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Cells of some zones in a region, and where these zones are."""
        around = grid.wider(spans)
        here = wanted(zones.read(around))
        cells = probability_to_instances(np.where(here, probability(around), np.float32(0)), options)
        return cells[inside(spans, around)], here[inside(spans, around)]

    highest = 0
    over_blocks = np.zeros(zones.count + 1, bool)
    for spans in grid:
        numbers = np.unique(zones.read(spans))
        start, stop = np.array(spans).T
        within = ((low[numbers] >= start) & (high[numbers] <= stop)).all(axis=1)
        over_blocks[numbers[~within & (numbers > 0)]] = True
        alone = numbers[within & (numbers > 0)]
        cells, _ = cells_of(spans, partial(np.isin, test_elements=alone))
        target.write(spans, np.where(cells > 0, cells + highest, 0).astype(np.uint32))
        highest += int(cells.max(initial=0))
    for number in np.flatnonzero(over_blocks):
        spans = tuple((int(a), int(b)) for a, b in zip(low[number], high[number], strict=True))
        _require_bounded(spans, most_pixels)
        cells, here = cells_of(spans, partial(np.equal, number))
        before = target.read(spans)
        target.write(spans, np.where(here, np.where(cells > 0, cells + highest, 0), before).astype(np.uint32))
        highest += int(cells.max(initial=0))
    return highest


def _require_bounded(spans: Spans, most_pixels: int) -> None:
    size = [b - a for a, b in spans]
    if prod(size) > most_pixels:
        raise RuntimeError(
            f"a group of touching cells is {' x '.join(map(str, size))} px large, from "
            f"{', '.join(str(a) for a, _ in spans)} on, and {most_pixels / 1e6:.0f} million px may be split or "
            "extended at once: raise --cells#threshold or --cells#low_threshold, or read cells without "
            "--cells#split_by and --cells#low_threshold ('$None')"
        )


def _boxes(grid: Grid, zones: Components) -> tuple[np.ndarray, np.ndarray]:
    """First and last px (plus 1) of every zone along every axis, (count + 1, axes)."""
    axes = len(grid.size)
    low, high = np.full((zones.count + 1, axes), max(grid.size)), np.zeros((zones.count + 1, axes), np.int64)
    for spans in grid:
        found = zones.read(spans)
        numbers, inverse = np.unique(found, return_inverse=True)
        start = np.array([a for a, _ in spans])
        for number, box in zip(numbers, ndi.find_objects(inverse.reshape(found.shape) + 1), strict=True):
            low[number] = np.minimum(low[number], start + [side.start for side in box])
            high[number] = np.maximum(high[number], start + [side.stop for side in box])
    return low, high
