"""The cells of a large image: found by blocks, stored as labels of the result, and as tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bundle.atomic import write_csv
from bundle.cells import CellOptions
from bundle.cells.classes import own_probability, words_of
from bundle.data.stores.ome_zarr import require_zarr
from bundle.geometry import BlockPlan
from bundle.inference.probability import as_read
from bundle.large.cells import find_cells
from bundle.large.cells.grid import Grid, Plane, Spans
from bundle.large.cells.numbered import compact
from bundle.large.cells.tables import CellFacts
from bundle.large.job import Job
from bundle.large.pyramid import build_pyramid
from bundle.large.result_store import Layout, ResultStore
from bundle.output.tables import CELLS_OF_PLANES, CELLS_OF_VOLUMES, classes_row, image_row

#: px along x and y of the blocks, about, and in all
_SIDE, _PIXELS = 2048, 2**22


@dataclass(frozen=True)
class KindsOfCells:
    """Whose cells are found, and how.

    Attributes:
        options: of all of them.
        names: of the classes, the background's first; empty: there is one kind.
        of_each: options of each class but the background, where each is read by itself; empty: cells of all
            classes are found together, and each gets the likeliest class.
    """

    options: CellOptions
    names: tuple[str, ...] = ()
    of_each: tuple[CellOptions, ...] = field(default=())

    def told(self) -> dict[str, str]:
        """What decides about the cells, for a comparison."""
        found = {name: str(value) for name, value in vars(self.options).items()}
        each = zip(self.names[1:], self.of_each, strict=False)
        return found | {f"cells of {name}": str(options) for name, options in each}

    def words(self) -> str:
        """How cells are read: see :func:`bundle.cells.classes.words_of`."""
        return words_of(self.names, self.of_each or (self.options,))

    def of(self, stored: np.ndarray, number: int) -> np.ndarray:
        """The probability off which cells are read, of a region of the stored ones; number 0: of all classes."""
        found = as_read(stored)
        if not self.names:
            return found
        return own_probability(found, number) if number else found[1:].sum(axis=0).clip(0, 1)


class _Found(NamedTuple):
    """How many cells of a class and a slice follow each other in their numbers."""

    cells: int
    kind: int
    slice: int


def label_type(pixels: int, kinds: KindsOfCells) -> str:
    """uint32; uint64 for an image that has room for more cells than that counts.

    Examples:
        >>> [label_type(400_000**2, KindsOfCells(CellOptions(min_size=smallest))) for smallest in (50, 0)]
        ['uint32', 'uint64']
    """
    most = sum(pixels // max(1, int(each.min_size)) for each in kinds.of_each or (kinds.options,))
    return "uint32" if most <= np.iinfo(np.uint32).max else "uint64"


def label_image(
    job: Job,
    store: ResultStore,
    layout: Layout,
    plan: BlockPlan,
    slices: int | None,
    kinds: KindsOfCells,
    spacing: tuple[float, ...] | None,
    table: Path,
) -> dict[str, Any]:
    """Find the cells of a complete probability and write them as ``labels/cells`` with a pyramid, and their table; of
    several classes ``labels/classes`` as well.

    Args:
        job, store, layout: of the result.
        plan: of the image, or of one of its slices.
        slices: how many images there are; None: one.
        kinds: how cells are read.
        spacing: µm, for the volume of cells; None where it is not known.
        table: CSV, a row for each cell.

    Returns:
        column -> value for the summary.

    Raises:
        RuntimeError: for a group of touching cells that is too large to be split or extended.
        ValueError: for a probability that is none.
    """
    size = plan.plan.image_size
    volume = slices is None and len(size) == 3
    pyramids = {name: job.markers(f"{name} pyramid") for name in ("cells", *(["classes"] if kinds.names else []))}
    for markers in pyramids.values():  # of labels that are removed
        shutil.rmtree(markers.folder, ignore_errors=True)
    store.remove_labels()
    store.add_labels(layout, {name: "uint8" if name == "classes" else layout.label_type for name in pyramids})
    folder = job.folder / "cells.zarr"
    shutil.rmtree(folder, ignore_errors=True)
    search = _Search(store, layout, plan, slices, kinds, folder)
    found = search.find()
    facts, of_pixels = search.measure(found)
    for name, markers in pyramids.items():
        build_pyramid(store.levels(name), markers, mean=False)
    names = kinds.names
    head = list(CELLS_OF_VOLUMES if volume else (*CELLS_OF_PLANES, *(["slice"] if slices else [])))
    head[1:1] = ["class"] if names else []
    one = prod(spacing) if volume and spacing is not None else None
    of_cells = np.zeros(len(names), np.int64)
    foreground = 0

    def rows() -> Iterator[tuple[Any, ...]]:
        nonlocal foreground
        each = facts.rows()
        for part in found:
            for _ in range(part.cells):
                number, pixels, centre, likeliest = next(each)
                kind = part.kind or likeliest
                if names:
                    of_cells[kind] += 1
                foreground += pixels
                volumes = [None if one is None else float(pixels * one)] if volume else []
                place = [part.slice] if slices else []
                yield (number, *([names[kind]] if names else []), pixels, *volumes, *map(float, centre), *place)

    write_csv(table, head, rows(), digits=6)
    shutil.rmtree(folder, ignore_errors=True)
    sizes = [*size, *([slices] if slices else [])]
    name = job.path.name.removesuffix(".ome.zarr")
    row = image_row(Path(job.image).name, name, sizes, facts.count, foreground, volume, spacing)
    return row | (classes_row(names, of_cells, of_pixels / prod(sizes)) if names else {})


class _Search:
    """Finds cells kind by kind and slice by slice, and lays them over each other."""

    def __init__(
        self,
        store: ResultStore,
        layout: Layout,
        plan: BlockPlan,
        slices: int | None,
        kinds: KindsOfCells,
        folder: Path,
    ) -> None:
        size, chunks = plan.plan.image_size, plan.chunk_sizes
        side = _SIDE if len(size) == 2 else round(_PIXELS ** (1 / len(size)))
        self.grid = Grid(size, tuple(chunk * max(1, round(side / chunk)) for chunk in chunks))
        self.slices: Sequence[int | None] = [None] if slices is None else range(slices)
        self.kinds, self.tables = kinds, folder / "tables"
        self.probability = partial(Plane, store.levels()[0], classes=layout.class_axis)
        self.cells = partial(Plane, store.levels("cells")[0])
        self.classes = partial(Plane, store.levels("classes")[0]) if kinds.names else None
        group = require_zarr().open_group(folder, mode="w")
        # fragments are more than cells
        dtype = "uint32" if prod(size) <= np.iinfo(np.uint32).max else "uint64"
        shape = {"shape": tuple(reversed(size)), "chunks": tuple(reversed(chunks)), "dtype": dtype}
        self.stores: Any = tuple(Plane(group.create_array(name, **shape)) for name in "abc")
        self.beyond: Callable[..., Plane] | None = None
        if len(kinds.of_each) > 1:
            like = store.levels("cells")[0]
            array = group.create_array("beyond", shape=like.shape, chunks=like.chunks, dtype=like.dtype)
            self.beyond = partial(Plane, array)

    def find(self) -> list[_Found]:
        """Write the cells; those of several classes where their own class is the likeliest, the rest beside."""
        found = []
        count = 0
        each = dict(enumerate(self.kinds.of_each, 1)) or {0: self.kinds.options}
        for (kind, options), index in product(each.items(), self.slices):
            of = find_cells(self.grid, partial(self._probability, kind, index), options, self.stores, self.tables)
            for spans in self.grid:
                numbers = of.read(spans)
                cells = numbers.called(np.where(numbers.numbers > 0, numbers.numbers + count, 0)).whole()
                self._write(kind, index, spans, cells.astype(self.cells(index).array.dtype))
            found.append(_Found(of.count, kind, index or 0))
            count += of.count
        return found

    def measure(self, found: Sequence[_Found]) -> tuple[CellFacts, np.ndarray]:
        """One pass over what is written: facts of all cells, and px of each class."""
        together = bool(self.kinds.names) and not self.kinds.of_each
        of_pixels = np.zeros(len(self.kinds.names), np.int64)
        count = sum(part.cells for part in found)
        facts = CellFacts(self.tables, count, len(self.grid.size), (len(self.kinds.names) - 1) * together)
        for index, spans in product(self.slices, self.grid):
            target = self.cells(index)
            cells = target.read(spans)
            if self.beyond is not None:
                cells = np.where(cells > 0, cells, self.beyond(index).read(spans))
                target.write(spans, cells)
            probability = None
            if self.classes is not None:
                probability = as_read(self.probability(index).read(spans))
                class_map = probability.argmax(axis=0).astype(np.uint8)
                of_pixels += np.bincount(class_map.ravel(), minlength=len(of_pixels))
                self.classes(index).write(spans, class_map)
            facts.add(spans, compact(cells), probability[1:] if probability is not None and together else None)
        return facts, of_pixels

    def _probability(self, kind: int, index: int | None, spans: Spans) -> np.ndarray:
        return self.kinds.of(self.probability(index).read(spans), kind)

    def _write(self, kind: int, index: int | None, spans: Spans, cells: np.ndarray) -> None:
        target = self.cells(index)
        if self.beyond is None:
            target.write(spans, cells)
            return
        own = self._probability(kind, index, spans) > 0
        rest = self.beyond(index)
        before, aside = target.read(spans), rest.read(spans)
        target.write(spans, np.where(own & (cells > 0), cells, before))
        rest.write(spans, np.where(~own & (cells > 0) & (aside == 0), cells, aside))
