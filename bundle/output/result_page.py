"""The page of a folder of results: one HTML file with its pictures inside, which opens by a double click."""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from ignite.engine import Engine, Events
from PIL import Image

from bundle.atomic import write_text
from bundle.cells.strips import strips
from bundle.console import counted
from bundle.output.class_pictures import class_colours
from bundle.output.histogram import bars
from bundle.output.overlay import as_bytes, enlarged, outlines, reduced, reduction, shown_channels, stretch
from bundle.output.overlay_files import colours_of
from bundle.output.segmented import Segmented
from bundle.output.templates import data_uri, html_templates

logger = logging.getLogger(__name__)

#: name of the file
PAGE = "index.html"
#: images with pictures at most, the most doubtful ones; the others are rows of the table
_MOST = 300
#: longer side of a picture, px; small images are enlarged by a whole number
_SIDE = 640
#: of the outlines, px of a picture
_WIDTH = 3
_QUALITY = 78
#: share of a picture that its scale bar takes at most, and the numbers of µm that it may have, times powers of ten
_BAR, _ROUND = 0.3, (1, 2, 5)
#: where the network is less sure than this, a pixel counts though no cell is there: p of 0.1 to 0.9
_UNSURE = 0.2


@dataclass(order=True)
class _Shown:
    """An image with its pictures; the least doubtful one is the smallest."""

    doubt: float
    number: int
    name: str = field(compare=False)
    facts: Mapping[str, Any] = field(compare=False)
    links: Mapping[str, str] = field(compare=False)
    pictures: Mapping[str, str] = field(compare=False)
    size: tuple[int, int] = field(compare=False)
    bar: tuple[str, float] | None = field(compare=False)


def doubt(probability: np.ndarray, cells: np.ndarray) -> float:
    """How unsure the network is where there is a cell, or could be one: the mean of 1 - abs(2 p - 1) there.

    Args:
        probability: of "cell", any shape.
        cells: of the same shape, above 0 where a cell is.

    Returns:
        0 (sure of every pixel) to 1 (p is 0.5 everywhere); 0 where nothing is.
    """
    total, count = 0.0, 0
    for rows, _ in strips(cells.shape):
        unsure = 1 - np.abs(2 * probability[rows].astype(np.float32, copy=False) - 1)
        counted = (cells[rows] > 0) | (unsure > _UNSURE)
        total, count = total + float(unsure[counted].sum(dtype=np.float64)), count + int(counted.sum())
    return total / count if count else 0.0


class ResultPage:
    """Collects what is shown of each image, and writes the page.

    Pictures are drawn when an image is added; those of the most doubtful images are kept, so that memory and page do
    not grow with the number of images beyond a few tens of MB.

    Args:
        folder: of the results, which the links of the page are relative to.
        names: of the classes, the background's first; None: there is one kind of cell.
    """

    def __init__(self, folder: Path, names: Sequence[str] | None = None) -> None:
        self.folder, self.names = folder, names
        self.made_by: Mapping[str, str] = {}  # network, backend, precision, options of cells
        self._shown: list[_Shown] = []
        self.rows: list[dict[str, Any]] = []
        self._measured: dict[str, list[np.ndarray]] = {}

    def add(
        self,
        name: str,
        found: Segmented,
        files: Mapping[str, str],
        of_cells: np.ndarray | None = None,
        pixel_um: Sequence[float] | None = None,
        measured: Mapping[str, np.ndarray] | None = None,
        counted: Mapping[str, Any] | None = None,
    ) -> None:
        """Take an image.

        Args:
            name: of the image.
            found: of volumes the middle slice is shown.
            files: kind -> path of the results.
            of_cells: (N + 1)x3, colour of each cell, 0 .. 255; None: of its class, or one that its neighbours have not.
            pixel_um: size of a pixel along x and y; None: not known.
            measured: of :func:`bundle.cells.measure`.
            counted: where a smaller image is shown, "cells", "classes", "slices" and "slice" of the whole one.
        """
        probability, cells, class_of = found.probability, found.cells, found.class_of
        foreground = probability[0] if len(probability) == 1 else 1 - probability[0]
        facts: dict[str, Any] = {"cells": int(cells.max(initial=0)), "doubt": doubt(foreground, cells)}
        if cells.ndim == 3:
            middle = cells.shape[-1] // 2
            facts |= {"slices": cells.shape[-1], "slice": middle}
            plane = {part: getattr(found, part)[..., middle] for part in ("image", "probability", "cells")}
            found = replace(found, **plane)
        if class_of is not None and self.names is not None:
            counts = np.bincount(class_of[1:], minlength=len(self.names))
            facts["classes"] = dict(zip(self.names[1:], counts[1:].tolist(), strict=True))
        facts |= counted or {}
        for column, values in (measured or {}).items():
            if column.startswith(("equivalent_diameter", "mean_", "solidity")):  # those that are drawn
                self._measured.setdefault(column, []).append(np.asarray(values, np.float32))
        name = name.encode(errors="replace").decode()  # of a file whose name is no text
        links = {kind: _link(Path(path).relative_to(self.folder)) for kind, path in files.items()}
        number = len(self.rows)
        self.rows.append({"name": name, "number": number, **facts, "links": links})
        if len(self._shown) == _MOST and self._shown[0].doubt >= facts["doubt"]:
            return
        pictures, size = self._pictures(found, of_cells)
        bar = None if pixel_um is None else _scale_bar(found.cells.shape[0] * pixel_um[0])
        shown = _Shown(facts["doubt"], -number, name, facts, links, pictures, size, bar)
        (heapq.heappush if len(self._shown) < _MOST else heapq.heappushpop)(self._shown, shown)

    def write(self) -> Path:
        """Write ``index.html`` into the folder, and return its path."""
        target = self.folder / PAGE
        charts = [
            chart for name, parts in self._measured.items() if (chart := self._chart(name, np.concatenate(parts)))
        ]
        page = html_templates("bundle.output").get_template("result_page.html")
        drawn = {-shown.number for shown in self._shown}
        tables = ("summary.csv", "cells.csv") if self._measured else ("summary.csv",)  # not one of an earlier run
        text = page.render(
            title=self.folder.name,
            shown=sorted(self._shown, reverse=True),
            rows=sorted(self.rows, key=lambda row: (-row["doubt"], row["number"])),
            drawn=drawn,
            cells=sum(row["cells"] for row in self.rows),
            made_by=self.made_by,
            charts=charts,
            names=dict(zip(self.names[1:], _hex(class_colours(len(self.names))[1:]), strict=True))
            if self.names
            else {},
            tables=[name for name in tables if (self.folder / name).is_file()],
        )
        write_text(target, text + "\n")
        return target

    def _chart(self, name: str, values: np.ndarray) -> dict[str, Any] | None:
        lengths = name.startswith("equivalent")
        if lengths and name.endswith("_um") != self._all_um():
            return None
        share = name in ("solidity", "mean_probability")
        drawn = bars(values, from_zero=lengths or share, most=1.0 if share else None)
        if drawn is None:
            return None
        unit = ("µm" if name.endswith("_um") else "px") if lengths else ""
        label = name.removesuffix("_um").removesuffix("_px").replace("equivalent_", "").replace("_", " ")
        return {"label": label, "bars": drawn, "unit": unit}

    def _all_um(self) -> bool:
        parts = self._measured.get("equivalent_diameter_um", [])
        return bool(parts) and bool(np.isfinite(np.concatenate(parts)).all())

    def _pictures(self, found: Segmented, of_cells: np.ndarray | None) -> tuple[dict[str, str], tuple[int, int]]:
        """Data of three pictures of one size, the outlines on nothing; and that size, px."""
        probability, cells, class_of = found.probability, found.cells, found.class_of
        factor, rows = reduction(cells.shape, _SIDE), cells.T
        gray, small = reduced(shown_channels(found.image.swapaxes(1, 2)), rows, factor)
        likely = [
            reduced(each.T, rows, factor)[0] for each in (probability if len(probability) == 1 else probability[1:])
        ]
        zoom = max(1, _SIDE // max(small.shape))
        gray, small, *likely = (enlarged(each, zoom) for each in (gray, small, *likely))
        if class_of is None:
            shade = np.clip(likely[0], 0, 1)
        else:
            tints = class_colours(len(self.names or ())) / 255
            shade = np.clip(np.einsum("khw,kc->hwc", np.stack(likely), tints[1:]), 0, 1)
        if of_cells is None:
            of_cells = colours_of(cells, self.names, class_of)
        assert of_cells is not None  # only of a stack there are none
        pictures = {
            "image": _jpeg(stretch(gray, colours=found.colours)),
            "outlines": _outlined(np.maximum(small, 0), of_cells),
            "probability": _jpeg(shade),
        }
        return pictures, (small.shape[1], small.shape[0])


class WritePage:
    """Ignite handler: writes the page that a writer has collected when all images are done.

    Args:
        writer: such as :class:`bundle.output.writer.SegmentationWriter`; one without a ``page`` has none written.
        made_by: tells what computes the images; the writer's table gets it, too. It is given here, since the annotation
            server has a writer and no backend.
    """

    def __init__(self, writer: Any, made_by: Callable[[], Mapping[str, str]] = dict) -> None:
        self.page: ResultPage | None = getattr(writer, "page", None)
        self.made_by = made_by
        if hasattr(writer, "made_by"):
            writer.made_by = made_by

    def attach(self, engine: Engine) -> None:
        if self.page is not None:
            engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self) -> None:
        assert self.page is not None  # attached only with one
        images = counted(len(self.page.rows), "image")
        cells = counted(sum(row["cells"] for row in self.page.rows), "cell")
        self.page.made_by = self.made_by()
        logger.info("%s, %s: open %s", images, cells, self.page.write())


def _outlined(cells: np.ndarray, of_cells: np.ndarray) -> str:
    """A picture of few colours, clear but for the outlines, which are drawn on the cells' own pixels."""
    palette, which = np.unique(of_cells.round().astype(np.uint8), axis=0, return_inverse=True)
    indices = np.where(outlines(cells, _WIDTH), which.ravel()[cells] + 1, 0).astype(np.uint8)
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette([0, 0, 0, *palette.ravel().tolist()])
    return data_uri(picture, "PNG", transparency=0, compress_level=4)  # the highest takes twenty times as long


def _jpeg(picture: np.ndarray) -> str:
    values = as_bytes(picture)
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    return data_uri(Image.fromarray(np.ascontiguousarray(values)), "JPEG", quality=_QUALITY)


def _scale_bar(width_um: float) -> tuple[str, float] | None:
    """What stands at the longest round bar within its share of a picture, and that share; None for no width."""
    if not width_um > 0:
        return None
    power = 10.0 ** np.floor(np.log10(width_um * _BAR))
    length = max(step * power for step in _ROUND if step * power <= width_um * _BAR)
    text = f"{length * 1e3:g} nm" if length < 1 else f"{length:g} µm" if length < 1e3 else f"{length / 1e3:g} mm"
    return text, float(length / width_um)


def _link(path: Path) -> str:
    return quote(os.fsencode(path.as_posix()))


def _hex(colours: np.ndarray) -> list[str]:
    return ["#" + bytes(colour.round().astype(np.uint8)).hex() for colour in colours]
