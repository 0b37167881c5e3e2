"""Pictures to look at: cells outlined on the image, the steps of one prediction side by side, contact sheets.

All functions take plain arrays of rows and columns and return RGB uint8 arrays; no pyplot state is touched, so they
may be called from any thread and without a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from skimage.segmentation import expand_labels, find_boundaries

__all__ = ["Boxes", "cell_colours", "contact_sheet", "overlay", "panel", "panel_and_boxes", "stretch"]

#: title of a step -> left, top, right, bottom of its image in the picture, px
Boxes = dict[str, tuple[int, int, int, int]]

# bright, of similar lightness and far apart in hue: each one is seen on black, gray and white
_PALETTE = np.array(
    [
        (64, 196, 255),
        (255, 179, 0),
        (120, 220, 100),
        (240, 98, 146),
        (186, 130, 255),
        (255, 120, 70),
        (38, 220, 200),
        (235, 235, 80),
    ],
    dtype=np.float32,
)
# cells nearer than this, in px, must not have the same colour
_NEIGHBOUR_PX = 12
# a step is drawn 4 inch = 520 px high
_PANEL_INCH = 4.0
_DPI = 130
# outlines of a panel in px of the enlarged image, which is drawn at about half its size
_PANEL_LINE = 4


def stretch(image: np.ndarray, percent: float = 0.5) -> np.ndarray:
    """Stretch the contrast so that ``percent`` of the pixels saturate at either end.

    Args:
        image: HW gray or HW3 colour, any real type.
        percent: 0 .. 50.

    Returns:
        HW3 float32, 0 .. 1. An image of one value becomes middle gray.
    """
    image = np.asarray(image, dtype=np.float32)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"image must be HW (gray) or HW3 (colour), got {image.shape}")
    low, high = np.percentile(image[np.isfinite(image)], (percent, 100 - percent)) if image.size else (0, 0)
    if high <= low:  # nearly everything has one value: the extremes are all the contrast there is
        low, high = float(image.min()), float(image.max())
    gray = np.clip((image - low) / (high - low), 0, 1) if high > low else np.full_like(image, 0.5)
    return np.repeat(gray[..., None], 3, axis=2) if image.ndim == 2 else gray


def cell_colours(instances: np.ndarray) -> np.ndarray:
    """A colour for every label such that cells near one another differ.

    Greedy colouring of the graph of neighbours (cells less than 12 px apart), crowded cells first; among the
    colours no neighbour has, the one used least, so that a picture is colourful even where cells are far apart.

    Args:
        instances: HW, 0 background, 1..N cells.

    Returns:
        (N+1)x3 float32, 0 .. 255; row 0 is black.
    """
    count = int(instances.max(initial=0))
    colours = np.zeros((count + 1, 3), dtype=np.float32)
    reach = expand_labels(instances, distance=_NEIGHBOUR_PX / 2)
    neighbours: list[set[int]] = [set() for _ in range(count + 1)]
    for one, other in (
        (reach[1:], reach[:-1]),
        (reach[:, 1:], reach[:, :-1]),
        (reach[1:, 1:], reach[:-1, :-1]),
        (reach[1:, :-1], reach[:-1, 1:]),
    ):
        touch = (one != other) & (one > 0) & (other > 0)
        for a, b in np.unique(np.stack([one[touch], other[touch]], axis=1), axis=0):
            neighbours[a].add(int(b))
            neighbours[b].add(int(a))
    chosen = np.full(count + 1, -1)
    used = np.zeros(len(_PALETTE), dtype=int)
    for label in sorted(range(1, count + 1), key=lambda i: (-len(neighbours[i]), i)):
        taken = {int(chosen[other]) for other in neighbours[label]}
        free = [i for i in range(len(_PALETTE)) if i not in taken] or range(len(_PALETTE))
        chosen[label] = min(free, key=lambda i: (used[i], i))
        used[chosen[label]] += 1
    colours[1:] = _PALETTE[chosen[1:]]
    return colours


def overlay(image: np.ndarray, instances: np.ndarray, fill: float = 0.12, width: int | None = None) -> np.ndarray:
    """The cells' outlines in colour on the gray image, their inside faintly tinted.

    Args:
        image: HW gray or HW3 colour.
        instances: HW integers, 0 background, 1..N cells; negative values (ignored pixels) are not drawn.
        fill: opacity of the tint, 0 .. 1.
        width: of the outline in px, drawn on the cell's own pixels; None takes 1, and one more every 1000 px.

    Returns:
        HW3 uint8.

    Raises:
        ValueError: when the sizes differ, or the image is neither gray nor RGB.
    """
    instances = np.maximum(np.asarray(instances), 0).astype(np.int32)
    picture = stretch(image)
    if picture.shape[:2] != instances.shape:
        raise ValueError(f"instances must have the size of the image, {picture.shape[:2]}, got {instances.shape}")
    colours = cell_colours(instances)[instances] / 255
    inside = instances.copy()
    for _ in range(width or 1 + max(instances.shape) // 1000):
        inside[find_boundaries(inside, mode="inner")] = 0
    opacity = np.where(instances == 0, 0, np.where(inside > 0, fill, 1))[..., None]
    return _bytes(picture * (1 - opacity) + colours * opacity)


def panel(
    image: np.ndarray,
    label: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    probability: np.ndarray | None = None,
    instances: np.ndarray | None = None,
    title: str = "",
) -> np.ndarray:
    """The steps of one prediction side by side: image, truth, weight map, probability, cells found.

    Args:
        image: HW gray or HW3 colour.
        label: HW integers, the true cells 1..N, or a 0/1 mask; negative pixels are ignored ones.
        weight: HW, the pixel weights of the loss, drawn with a colour bar of its own range.
        probability: HW, 0 .. 1.
        instances: HW integers, the cells found.
        title: text above all; what is None is left out.

    Returns:
        RGB uint8 picture, some 570 px high and as wide as the steps need.
    """
    return panel_and_boxes(image, label, weight, probability, instances, title)[0]


def panel_and_boxes(
    image: np.ndarray,
    label: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    probability: np.ndarray | None = None,
    instances: np.ndarray | None = None,
    title: str = "",
) -> tuple[np.ndarray, Boxes]:
    """As :func:`panel`, and where in the picture every step's image lies, so that it can be cut out again."""
    image = np.asarray(image)
    zoom = max(1, round(2 * _PANEL_INCH * _DPI / max(image.shape[:2])))  # smooth outlines on small images too
    steps: list[tuple[str, np.ndarray, str | None, tuple[float, float]]] = [("image", stretch(image), None, (0, 1))]
    for name, cells in (("truth", label), ("found", instances)):
        if cells is not None:
            drawn = overlay(_enlarge(image, zoom), _enlarge(np.asarray(cells), zoom), width=_PANEL_LINE)
            steps.append((f"{name}: {_count(np.asarray(cells))}", drawn, None, (0, 1)))
    if probability is not None:
        at = len(steps) - (instances is not None)
        steps.insert(at, ("probability of cell", np.asarray(probability, dtype=float), "gray", (0, 1)))
    if weight is not None:
        weight = np.asarray(weight, dtype=float)
        top = float(weight.max(initial=0)) or 1.0
        steps.insert(1 + (label is not None), ("weight map", weight, "magma", (0, top)))
    return _draw(steps, image.shape[1] / image.shape[0], title)


def contact_sheet(pictures: Sequence[np.ndarray], columns: int | None = None, gap: int = 8) -> np.ndarray:
    """Pictures in rows and columns on white, each centred in a cell as large as the largest.

    Args:
        pictures: HW3 uint8, of any sizes, at least one.
        columns: number of columns; None makes the sheet about square.
        gap: px between pictures and around the sheet.

    Raises:
        ValueError: without pictures, or for a picture that is not HW3.
    """
    if not pictures:
        raise ValueError("pictures must hold at least one picture, got none")
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"every picture must be HW3 RGB, got {picture.shape}")
    high, wide = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    columns = columns or max(1, round((len(pictures) * high / wide) ** 0.5))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (high + gap) + gap, columns * (wide + gap) + gap, 3), 255, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        top = gap + index // columns * (high + gap) + (high - picture.shape[0]) // 2
        left = gap + index % columns * (wide + gap) + (wide - picture.shape[1]) // 2
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _draw(
    steps: Sequence[tuple[str, np.ndarray, str | None, tuple[float, float]]], aspect: float, title: str
) -> tuple[np.ndarray, Boxes]:
    wide = _PANEL_INCH * float(np.clip(aspect, 0.4, 2.5))
    figure = Figure(figsize=(wide * len(steps), _PANEL_INCH + (0.55 if title else 0.3)), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", color="#222222")
    shelf = figure.subplots(1, len(steps), squeeze=False)[0]
    for axes, (name, array, colours, (low, high)) in zip(shelf, steps, strict=True):
        shown = axes.imshow(array, cmap=colours, vmin=low, vmax=high, interpolation="antialiased")
        axes.set_title(name, fontsize=10, color="#222222")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if colours is not None:
            bar = figure.colorbar(shown, cax=axes.inset_axes((1.02, 0, 0.035, 1)))
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=8, length=2, color="#666666", labelcolor="#444444")
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
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


def _enlarge(array: np.ndarray, zoom: int) -> np.ndarray:
    return array.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
