"""The cells of a large image: found by blocks, stored as labels of the result, and as tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bundle.cells import CellOptions
from bundle.data.stores.ome_zarr import require_zarr
from bundle.geometry import BlockPlan
from bundle.large.cells import FoundCells, find_cells
from bundle.large.cells.grid import Grid, Plane
from bundle.large.job import Job
from bundle.large.pyramid import build_pyramid
from bundle.large.result_store import Layout, ResultStore
from bundle.output.tables import CELLS_OF_PLANES, CELLS_OF_VOLUMES, image_row

__all__ = ["label_image"]

#: px along x and y of the blocks, about, and in all
_SIDE, _PIXELS = 2048, 2**22


def label_image(
    job: Job,
    store: ResultStore,
    layout: Layout,
    plan: BlockPlan,
    slices: int | None,
    options: CellOptions,
    spacing: tuple[float, ...] | None,
    table: Path,
) -> dict[str, Any]:
    """Find the cells of a complete probability and write them as ``labels/cells`` with a pyramid, and their table.

    Args:
        job, store, layout: of the result.
        plan: of the image, or of one of its slices.
        slices: how many images there are; None: one.
        options: how cells are read.
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
    store.remove_labels()
    source, labels = store.levels()[0], store.add_labels(layout, "cells")
    chunks = plan.chunk_sizes
    side = _SIDE if len(size) == 2 else round(_PIXELS ** (1 / len(size)))
    block = tuple(chunk * max(1, round(side / chunk)) for chunk in chunks)
    folder = job.folder / "cells.zarr"
    shutil.rmtree(folder, ignore_errors=True)
    group = require_zarr().open_group(folder, mode="w")
    shape = {"shape": tuple(reversed(size)), "chunks": tuple(reversed(chunks)), "dtype": "uint32"}
    stores: Any = tuple(Plane(group.create_array(name, **shape)) for name in "abc")
    head = CELLS_OF_VOLUMES if volume else (*CELLS_OF_PLANES, *(["slice"] if slices else []))
    count = foreground = 0
    with job.table(table, head) as write_rows:
        for index in range(slices or 1):
            place = None if slices is None else index
            found = find_cells(Plane(source, place), options, block, stores)
            target = Plane(labels[0], place)
            for spans in Grid(size, block):
                cells = found.read(spans)
                target.write(spans, ((cells + count) * (cells > 0)).astype("uint32"))
            write_rows(_rows(found, count, spacing if volume else None, place, volume))
            count += found.tables.count
            foreground += int(found.tables.sizes.sum())
    build_pyramid(labels, job.markers("cells pyramid"), mean=False)
    shutil.rmtree(folder, ignore_errors=True)
    sizes = [*size, *([slices] if slices else [])]
    return image_row(
        Path(job.image).name, job.path.name.removesuffix(".ome.zarr"), sizes, count, foreground, volume, spacing
    )


def _rows(
    found: FoundCells, before: int, spacing: tuple[float, ...] | None, index: int | None, volume: bool
) -> Iterator[tuple[Any, ...]]:
    one = None if spacing is None else float(spacing[0] * spacing[1] * spacing[2])
    for number, (pixels, centre) in enumerate(zip(found.tables.sizes, found.tables.centres, strict=True), before + 1):
        volumes = [None if one is None else float(pixels * one)] if volume else []
        yield (number, int(pixels), *volumes, *map(float, centre), *([] if index is None else [index]))
