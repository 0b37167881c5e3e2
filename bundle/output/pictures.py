"""Pictures to look at: the steps of one prediction side by side and their file, contact sheets.

Pictures are RGB uint8 arrays, made of plain arrays of rows and columns; no pyplot state is touched, so all may be
called from any thread and without a display.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bundle.output.class_pictures import ClassView, class_colours, class_picture, drawn, legend_patches
from bundle.output.formats import write_png
from bundle.output.overlay import enlarged, overlay, stretch

#: title of a step -> left, top, right, bottom of its image in the picture, px
Boxes = dict[str, tuple[int, int, int, int]]

#: title, picture, colour map (None: none is needed), and the value at its upper end; the lower one is 0
_Step = tuple[str, np.ndarray, str | None, float]

#: the text in a PNG that holds the boxes, as JSON
_BOXES = "boxes"
#: the text in a PNG that names the classes, as JSON
_CLASSES = "classes"
# a step is drawn 4 inch = 520 px high
_PANEL_INCH = 4.0
_DPI = 130
# outlines of a panel in px of the enlarged image, which is drawn at about half its size
_PANEL_LINE = 4


def panel_and_boxes(
    image: np.ndarray,
    label: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    probability: np.ndarray | None = None,
    instances: np.ndarray | None = None,
    title: str = "",
    colours: bool = True,
    classes: ClassView | None = None,
) -> tuple[np.ndarray, Boxes]:
    """The steps of one prediction side by side: image, truth, weight map, probability, cells found.

    Args:
        image: HW gray or HWC.
        label: HW integers, the true cells 1..N, or a 0/1 mask; negative pixels are ignored ones.
        weight: HW, the pixel weights of the loss, drawn with a colour bar of its own range.
        probability: HW, 0 .. 1.
        instances: HW integers, the cells found.
        title: text above all; what is None is left out.
        colours: how channels are shown, see :func:`bundle.output.overlay.stretch`.
        classes: cells are drawn in the colour of theirs, the class of every pixel stands instead of the probability,
            and a legend below; None: there is one kind of cell.

    Returns:
        RGB uint8 picture, some 570 px high and as wide as the steps need; and where in it the image of each step is, so
        that it can be cut out.
    """
    image = np.asarray(image)
    zoom = max(1, round(2 * _PANEL_INCH * _DPI / max(image.shape[:2])))  # smooth outlines on small images too
    names = () if classes is None else classes.names
    steps: list[_Step] = [("image", stretch(image, colours=colours), None, 1.0)]

    def outline(name: str, cells: np.ndarray, class_of: np.ndarray | None) -> None:
        of_cells = None if class_of is None else class_colours(len(names))[class_of]
        large = enlarged(image, zoom), enlarged(np.asarray(cells), zoom)
        outlined = overlay(*large, width=_PANEL_LINE, colours=colours, of_cells=of_cells)
        steps.append((f"{name}: {_count(np.asarray(cells))}", outlined, None, 1.0))

    if label is not None:
        outline("truth", label, None if classes is None else classes.of_truth)
    if weight is not None:
        weight = np.asarray(weight, dtype=float)
        steps.append(("weight map", weight, "magma", float(weight.max(initial=0)) or 1.0))
    if classes is not None:
        steps.append(("classes", class_picture(classes.found, len(names)), None, 1.0))
    elif probability is not None:
        steps.append(("probability of cell", np.asarray(probability, dtype=float), "gray", 1.0))
    if instances is not None:
        outline("found", instances, None if classes is None else classes.of_cells)
    return _draw(steps, image.shape[1] / image.shape[0], title, names)


def write_panel(path: Path, picture: np.ndarray, boxes: Boxes, classes: Sequence[str] = ()) -> None:
    """Write a PNG that says in its text where its steps lie, for :func:`boxes_of`, and which classes it shows."""
    notes = PngInfo()
    notes.add_text(_BOXES, json.dumps(boxes))
    if classes:
        notes.add_text(_CLASSES, json.dumps(list(classes)))
    write_png(path, picture, pnginfo=notes)


def boxes_of(picture: Image.Image) -> Boxes:
    """Where the steps lie in a picture that :func:`write_panel` wrote; empty for any other."""
    boxes: Boxes = json.loads(getattr(picture, "text", {}).get(_BOXES, "{}"))
    return boxes


def classes_of(picture: Image.Image) -> list[str]:
    """The names of the classes in such a picture; empty where there is one kind of cell."""
    names: list[str] = json.loads(getattr(picture, "text", {}).get(_CLASSES, "[]"))
    return names


def file_name(name: str) -> str:
    """The name of an image as its pictures have it: what is no letter, digit, "_", "." or "-" becomes "_"."""
    return re.sub(r"[^\w.-]", "_", name)


def _draw(steps: Sequence[_Step], aspect: float, title: str, classes: Sequence[str] = ()) -> tuple[np.ndarray, Boxes]:
    wide = _PANEL_INCH * float(np.clip(aspect, 0.4, 2.5))
    high = _PANEL_INCH + (0.55 if title else 0.3) + (0.35 if classes else 0)
    figure = Figure(figsize=(wide * len(steps), high), dpi=_DPI, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", color="#222222")
    if classes:
        figure.legend(
            handles=legend_patches(classes), loc="outside lower center", ncols=len(classes), fontsize=10, frameon=False
        )
    shelf = figure.subplots(1, len(steps), squeeze=False)[0]
    for axes, (name, array, colours, high) in zip(shelf, steps, strict=True):
        shown = axes.imshow(array, cmap=colours, vmin=0, vmax=high, interpolation="antialiased")
        axes.set_title(name, fontsize=10, color="#222222")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if colours is not None:
            bar = figure.colorbar(shown, cax=axes.inset_axes((1.02, 0, 0.035, 1)))
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=8, length=2, color="#666666", labelcolor="#444444")
    picture = drawn(figure)
    boxes = {}
    for axes, (name, *_) in zip(shelf, steps, strict=True):
        extent = axes.get_window_extent()  # from the bottom; pixels that are drawn in part stay out
        top, bottom = len(picture) - extent.y1, len(picture) - extent.y0
        boxes[name] = (ceil(extent.x0), ceil(top), floor(extent.x1), floor(bottom))
    return picture, boxes


def _count(cells: np.ndarray) -> str:
    """How many cells a map shows; a 0/1 mask has no instances to count, so its covered part is named."""
    values = np.unique(cells[cells > 0])
    if len(values) == 1 and values[0] == 1:
        return f"{100 * float((cells > 0).mean()):.0f} % cell"
    return f"{len(values)} cells"
