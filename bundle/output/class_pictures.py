"""A colour for each class, the same in every picture, and what it stands for."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageDraw, ImageFont

from bundle.output.overlay import PALETTE

#: gray for the background, then the colours of cells, of which green comes after pink
_COLOURS = [(96, 96, 96), *PALETTE[[0, 1, 3, 2, 4, 5, 6, 7]]]


@dataclass(frozen=True)
class ClassView:
    """What a panel shows of classes.

    Attributes:
        names: of all classes, the background's first.
        found: HW, the class of every pixel.
        of_truth, of_cells: the class of each true instance and of each cell found, at its number; None where there is
            none of them.
    """

    names: Sequence[str]
    found: np.ndarray
    of_truth: np.ndarray | None = None
    of_cells: np.ndarray | None = None


def class_colours(count: int) -> np.ndarray:
    """(count, 3) float32, 0 .. 255: gray for the background, then one for each class."""
    more = [colorsys.hls_to_rgb(i * 0.618 % 1, 0.6, 0.9) for i in range(max(0, count - len(_COLOURS)))]
    return np.array([*_COLOURS, *(tuple(255 * part for part in colour) for colour in more)][:count], np.float32)


def class_picture(classes: np.ndarray, count: int) -> np.ndarray:
    """The class of every pixel, HW, in its colour: HW3 uint8; below 0 (not annotated) is black."""
    colours = np.concatenate([class_colours(count), np.zeros((1, 3), np.float32)])
    return np.asarray(colours[np.where(classes < 0, count, classes)], np.uint8)


def legend_patches(names: Sequence[str]) -> list[Patch]:
    """For matplotlib's legends."""
    return [
        Patch(color=colour / 255, label=name) for name, colour in zip(names, class_colours(len(names)), strict=True)
    ]


def with_legend(picture: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A picture with what the colours of its cells stand for in rows below it.

    Args:
        picture: HW3 uint8, as wide as the legend will be: a name that is wider ends at its edge.
        names: of all classes; the first, the background, has no cells and is left out.

    Returns:
        HW3 uint8, the picture at its top.
    """
    wide = picture.shape[1]
    size = int(np.clip(wide / 40, 10, 48))
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
    places: list[tuple[int, int]] = []
    left, row = size // 2, 0
    for name in names[1:]:
        length = int(2 * size + font.getlength(name))
        if places and left + length > wide:
            left, row = size // 2, row + 1
        places.append((left, row * 2 * size + size // 2))
        left += length + size
    legend = Image.new("RGB", (wide, 2 * size * (row + 1)), "white")
    draw = ImageDraw.Draw(legend)
    colours = class_colours(len(names))[1:].astype(int).tolist()
    for (x, y), name, colour in zip(places, names[1:], colours, strict=True):
        draw.rectangle((x, y, x + size - 1, y + size - 1), fill=tuple(colour))
        draw.text((x + 1.5 * size, y + size / 2), name, fill="#222222", font=font, anchor="lm")
    return np.concatenate([picture, np.asarray(legend)])


def confusion_picture(matrix: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A confusion matrix as shares of the true class, with the numbers in its cells.

    Args:
        matrix: (K, K) pixels, a row for each true class, a column for each one found.
        names: of the classes.

    Returns:
        RGB uint8 picture.
    """
    pixels = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, pixels, out=np.zeros(matrix.shape), where=pixels > 0)
    side = 1.6 + 0.75 * len(names)
    figure = Figure(figsize=(side + 1.2, side), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        known = pixels[row, 0] > 0
        axes.text(
            column,
            row,
            f"{100 * value:.1f}" if known else "–",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if value > 0.6 else "#222222",
        )
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=9)
    axes.set_yticks(
        range(len(names)), [f"{n}\n{int(p):,} px" for n, p in zip(names, pixels[:, 0], strict=True)], fontsize=9
    )
    axes.set_xlabel("found, % of the true class", fontsize=10)
    axes.set_ylabel("true", fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return drawn(figure)


def drawn(figure: Figure) -> np.ndarray:
    """A figure as an RGB uint8 picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
