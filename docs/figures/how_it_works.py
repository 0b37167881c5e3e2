"""Draw the paper's figures 1 and 2 anew: ``python docs/figures/how_it_works.py`` writes docs/images/how_*.png.

The weight map and the deformed grid are drawn by transform_pictures.py.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from drawing import BLUE, ORANGE, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from transform_pictures import touching_cells

from bundle.geometry import ValidGeometry
from transforms import MirrorPad

GREY, GREEN = "#8a8f98", "#3f9b57"


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    ax.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.8, "shrinkA": 1, "shrinkB": 1}
    )


def map_of(ax: Axes, x: float, y: float, channels: int, size: int, width: float = 0.0) -> float:
    """A feature map as a box with its channels above and its side below; the x of its right edge."""
    width, height = width or 0.25 + channels / 1000, size / 360
    ax.add_patch(Rectangle((x, y - height / 2), width, height, facecolor="#cfe3f7", edgecolor="#274b74", lw=1))
    ax.text(x + width / 2, y + height / 2 + 0.06, channels, ha="center", va="bottom", fontsize=7.5)
    ax.text(x + width / 2, y - height / 2 - 0.06, f"{size}²", ha="center", va="top", fontsize=7, color="0.3")
    return x + width


def network(depth: int = 4, base: int = 64, size: int = 572) -> None:
    """Figure 1: every map with channels and side, from 572 px to 388 px."""
    figure = Figure(figsize=(10.5, 5.6), dpi=120, layout="constrained")
    ax = figure.subplots()
    heights = [size / 2**level / 360 for level in range(depth + 1)]
    levels = [0.0]
    for upper, lower in pairwise(heights):
        levels.append(levels[-1] - (upper + lower) / 2 - 0.95)
    skips, x = [], 0.0
    for level in range(depth + 1):
        y, channels, first = levels[level], base * 2**level, 1 if level == 0 else base * 2 ** (level - 1)
        x = map_of(ax, x, y, first, size)
        for _ in range(2):
            arrow(ax, (x, y), (x + 0.45, y), BLUE)
            size -= 2
            x = map_of(ax, x + 0.45, y, channels, size)
        if level < depth:
            skips.append((x, y))
            size //= 2
            arrow(ax, (x - 0.13, y - size / 360 - 0.24), (x - 0.13, levels[level + 1] + size / 720 + 0.26), ORANGE)
            x -= 0.26
    for level in reversed(range(depth)):
        y, channels = levels[level], base * 2**level
        low, size = size, size * 2
        arrow(ax, (x - 0.13, levels[level + 1] + low / 720 + 0.26), (x - 0.13, y - size / 720 - 0.24), GREEN)
        arrow(ax, skips[level], (x - 0.26, y), GREY)
        x = map_of(ax, x - 0.26, y, 2 * channels, size)
        for _ in range(2):
            arrow(ax, (x, y), (x + 0.45, y), BLUE)
            size -= 2
            x = map_of(ax, x + 0.45, y, channels, size)
    arrow(ax, (x, levels[0]), (x + 0.45, levels[0]), "#b03060")
    map_of(ax, x + 0.45, levels[0], 2, size, 0.25)
    if size != ValidGeometry(depth).output_size(572):
        raise ValueError(f"the figure ends at {size} px, the network at {ValidGeometry(depth).output_size(572)}")
    legend = {
        "3x3 valid convolution, ReLU": BLUE,
        "2x2 max pooling": ORANGE,
        "2x2 up-convolution": GREEN,
        "crop and copy": GREY,
        "1x1 convolution": "#b03060",
    }
    for number, (text, colour) in enumerate(legend.items()):
        y = levels[-1] + 1.2 - 0.33 * number
        arrow(ax, (0, y), (0.45, y), colour)
        ax.text(0.6, y, text, va="center", fontsize=8.5)
    ax.set(xlim=(-0.2, x + 0.9), ylim=(levels[-1] - 0.45, 1.2))
    ax.set_axis_off()
    save(figure, "how_network")


def overlap_tile(side: int = 520, tile: int = 444) -> None:
    """Figure 2: the mirrored border, two overlapping inputs and the outputs that touch."""
    geometry = ValidGeometry(4)
    margin, inner = geometry.margin, geometry.output_size(tile)
    grey, _ = touching_cells(side, 48, seed=3)
    figure = Figure(figsize=(9.6, 5.25), dpi=110, layout="constrained")
    for ax, corners in zip(figure.subplots(1, 2), (((0, 0),), ((0, 0), (0, 1), (1, 0), (1, 1))), strict=True):
        padded = MirrorPad(margin)(grey[None])[0]
        inside = np.zeros(padded.shape, bool)
        inside[margin:-margin, margin:-margin] = True
        ax.imshow(np.where(inside, padded, 0.5 + 0.35 * (padded - 0.3)), cmap="gray", vmin=0, vmax=1)
        ax.add_patch(Rectangle((margin, margin), side, side, fill=False, edgecolor="white", lw=1.2, ls="--"))
        for row, column in corners:
            y, x = row * inner, column * inner
            if len(corners) == 1:
                ax.add_patch(Rectangle((x, y), tile, tile, facecolor=BLUE, alpha=0.18))
                ax.add_patch(Rectangle((x, y), tile, tile, fill=False, edgecolor=BLUE, lw=2))
            ax.add_patch(Rectangle((x + margin, y + margin), inner, inner, facecolor=ORANGE, alpha=0.18))
            ax.add_patch(Rectangle((x + margin, y + margin), inner, inner, fill=False, edgecolor=ORANGE, lw=2))
        ax.set_axis_off()
        ax.set_title(
            f"one tile: input {tile} px (blue), output {inner} px (orange)"
            if len(corners) == 1
            else "the outputs of four tiles cover the image (dashed)"
        )
    save(figure, "how_overlap_tile")


if __name__ == "__main__":
    network()
    overlap_tile()
