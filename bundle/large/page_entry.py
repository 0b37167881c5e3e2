"""A large image on the page of results: a coarse level of what was written, and as many pixels of the image."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.channel_names import are_colours
from bundle.data.stores import LazyImage
from bundle.inference.probability import as_read
from bundle.large.result_store import Layout, ResultStore
from bundle.output.result_page import ResultPage
from bundle.output.segmented import Segmented

#: px of the longer side of what is shown, at most
_SIDE = 1536


def show(
    page: ResultPage, image: LazyImage, store: ResultStore, layout: Layout, name: str, made_by: Mapping[str, str]
) -> None:
    """Add an image whose cells are written; of several slices the middle one. The image is read once more.

    Args:
        page: in the folder of the store.
        image: that was segmented.
        store: complete.
        layout: of the store.
        name: of the image.
        made_by: what computed it; the page names what computed any of its images.
    """
    for what, value in made_by.items():
        others = [other for other in page.made_by.get(what, "").split(" and ") if other not in ("", value)]
        page.made_by = {**page.made_by, what: " and ".join([*others, value])}
    level = next((number for number, size in enumerate(layout.sizes) if max(size[:2]) <= _SIDE), len(layout.sizes) - 1)
    middle = layout.size[2] // 2 if layout.slice_axis else None

    def plane(array: Any, classes: int | None = None) -> np.ndarray:
        """([c, ]x, y) of a level."""
        where: list[Any] = [slice(None)] * 2 if middle is None else [middle, slice(None), slice(None)]
        if classes is not None:
            where.insert(classes, slice(None))
        return np.asarray(array[tuple(where)]).swapaxes(-1, -2)

    # the cells that are seen are numbered on
    numbers, places = np.unique(plane(store.levels("cells")[level]), return_inverse=True)
    cells = places.reshape(layout.sizes[level][:2]).astype(np.int32) + int(numbers[0] != 0)
    numbers = numbers[numbers > 0]
    probability = as_read(plane(store.levels()[level], layout.class_axis))
    row = store.note["cells"]["summary"]
    table = store.path.name.removesuffix(".ome.zarr") + "_cells.csv"
    counted: dict[str, Any] = {"cells": row["cells"]}
    class_of = None
    if page.names:
        class_of = _classes(page.folder / table, numbers, page.names)
        counted["classes"] = {kind: row[f"cells {kind}"] for kind in page.names[1:]}
    if middle is not None:
        counted |= {"slices": layout.size[2], "slice": middle}
    files = {"segmentation": str(page.folder / store.path.name), "cell_table": str(page.folder / table)}
    shown = Segmented(
        path=Path(image.path),
        meta={},
        image=_thinned(image, 2**level, middle),
        probability=probability if layout.classes else probability[None],
        cells=cells,
        names=layout.classes,
        class_of=class_of,
        colours=are_colours(image.stated.names),
    )
    pixel_um = None if layout.spacing is None else [side * 2**level for side in layout.spacing[:2]]
    page.add(name, shown, files, pixel_um=pixel_um, counted=counted)


def _classes(table: Path, numbers: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Class of the background and of these cells, (N + 1,); the table has the cells in their order."""
    found = np.zeros(len(numbers) + 1, np.int64)
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        for place, number in enumerate(numbers.tolist(), 1):
            row = next(row for row in rows if int(row["instance"]) == number)
            found[place] = names.index(row["class"])
    return found


def _thinned(image: LazyImage, step: int, middle: int | None) -> np.ndarray:
    """Every ``step``-th px along x and y, (C, x, y), read part by part."""
    thin = np.zeros((image.stated.count, *(-(-n // step) for n in image.size[:2])), np.float32)
    for spans in image.regions():
        if middle is not None:
            if not spans[2][0] <= middle < spans[2][1]:
                continue
            spans = (*spans[:2], (middle, middle + 1))
        pixels = image.read(spans)
        pixels = pixels if middle is None else pixels[..., 0]
        x, y = (start for start, _ in spans[:2])
        part = pixels[:, -x % step :: step, -y % step :: step]
        left, top = -(-x // step), -(-y // step)
        thin[: len(part), left : left + part.shape[1], top : top + part.shape[2]] = part
    return thin
