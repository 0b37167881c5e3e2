"""Cells that are split or extended: the image is parted into zones that know nothing of each other.

The outside is all background that is connected to the edge of the image; what is left falls into zones. No cell, hole,
seed or flooding reaches from one zone into another, and none depends on the outside but by its place. So the cells
of a zone, in its own box with a px around it where the image goes on, are those of the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

from bundle.cells import CellOptions, probability_to_instances
from bundle.cells.regions import dual_connectivity
from bundle.large.cells.components import Components
from bundle.large.cells.disk_table import DiskTable
from bundle.large.cells.grid import Grid, Plane, Spans, inside
from bundle.large.cells.whole import edge_numbers


def cells_of_zones(
    grid: Grid,
    probability: Callable[[Spans], np.ndarray],
    options: CellOptions,
    stores: tuple[Plane, Plane],
    target: Plane,
    most_pixels: int,
    folder: Path,
) -> int:
    """All of ``probability_to_instances`` but closing gaps and the order of numbers, zone by zone.

    Args:
        grid: blocks of the image.
        probability: of a region.
        options: how cells are read.
        stores: overwritten.
        target: overwritten, gets the numbers of the cells.
        most_pixels: of the box of a zone.
        folder: for tables.

    Returns:
        the highest number.

    Raises:
        RuntimeError: for a larger zone.
    """
    axes = len(grid.size)
    dual = dual_connectivity(options.connectivity, axes)
    background = Components(grid, lambda spans: ~(probability(spans) > options.foreground), dual, stores[0])
    outside = DiskTable(folder, background.highest + 1)
    for spans in grid:
        outside.put(edge_numbers(grid, spans, background.read(spans), spans), np.ones(1))
    outside.put(np.zeros(1, np.int64), np.zeros(1))

    def is_zone(spans: Spans) -> np.ndarray:
        found = background.read(spans)
        return np.asarray((outside.take(found.numbers)[:, 0] == 0)[found.places])

    zones = Components(grid, is_zone, axes, stores[1])
    boxes = _Boxes(grid, zones, folder)
    options = replace(options, close_gaps=0.0, spatial_dims=None)

    def cells_of(spans: Spans, wanted: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells of some zones in a region, and where these zones are."""
        around = grid.wider(spans)
        found = zones.read(around)
        here = np.isin(found.numbers, wanted)[found.places]
        cells = probability_to_instances(np.where(here, probability(around), np.float32(0)), options)
        return cells[inside(spans, around)], here[inside(spans, around)]

    highest = 0
    over_blocks: set[int] = set()
    for spans in grid:
        numbers = np.unique(zones.read(spans).numbers)[1:]
        low, high = boxes.of(numbers)
        start, stop = np.array(spans).T
        within = ((low >= start) & (high <= stop)).all(axis=1)
        over_blocks.update(numbers[~within].tolist())
        cells, _ = cells_of(spans, numbers[within])
        target.write(spans, np.where(cells > 0, cells.astype(np.int64) + highest, 0).astype(target.array.dtype))
        highest += int(cells.max(initial=0))
    for number in sorted(over_blocks):
        low, high = boxes.of(np.array([number]))
        spans = tuple((int(a), int(b)) for a, b in zip(low[0], high[0], strict=True))
        _require_bounded(spans, most_pixels)
        cells, here = cells_of(spans, [number])
        found = np.where(cells > 0, cells.astype(np.int64) + highest, 0).astype(target.array.dtype)
        target.write(spans, np.where(here, found, target.read(spans)))
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


class _Boxes:
    """First px and the one behind the last of every zone along every axis."""

    def __init__(self, grid: Grid, zones: Components, folder: Path) -> None:
        self._far = max(grid.size)
        # the least values as what is left to the greatest
        self._table = DiskTable(folder, zones.highest + 1, 2 * len(grid.size))
        for spans in grid:
            found = zones.read(spans)
            start = np.array([a for a, _ in spans])
            there = [(at, box) for at, box in enumerate(ndi.find_objects(found.places), 1) if box is not None]
            if there:
                low, high = ([[getattr(side, end) for side in box] for _, box in there] for end in ("start", "stop"))
                numbers = found.numbers[[at for at, _ in there]]
                self._table.raise_to(numbers, np.hstack([self._far - (start + low), start + high]))

    def of(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, axes) each."""
        low, high = np.split(self._table.take(numbers), 2, axis=1)
        return self._far - low, high
