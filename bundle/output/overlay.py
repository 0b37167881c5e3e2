"""Cells outlined on their image, in memory for a strip of it.

All functions take plain arrays of rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from skimage.segmentation import expand_labels

from bundle.cells.strips import strips

#: bright, of similar lightness and far apart in hue: each one is seen on black, gray and white
PALETTE = np.array(
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
# percent of the pixels from which they are black and white
_SATURATED = 0.5, 99.5
# cells nearer than this, in px, must not have the same colour
_NEIGHBOUR_PX = 12
# colours in which channels are added: of two, those that nearly everybody tells apart, and white where both are; of
# more, the first three as cyan, magenta and yellow, white where all are
_TWO = np.array([(1, 0, 1), (0, 1, 0)], dtype=np.float32)
_THREE = np.array([(0, 1, 1), (1, 0, 1), (1, 1, 0)], dtype=np.float32) / 2
# of outlines that a person has drawn
_TRUTH = (255, 225, 0)
# the longer side of an overlay, px: what is larger is scaled down by a whole number
_LARGEST_PX = 4096
# of more cells, which are a few px each in a picture, colours go by the number: neighbours take memory for each cell
_MOST_CELLS = 100_000


def stretch(image: np.ndarray, colours: bool = True) -> np.ndarray:
    """Stretch the contrast of each channel so that half a percent of its pixels saturates at either end.

    Args:
        image: HW gray or HWC, any real type.
        colours: three channels are red, green and blue. Otherwise the first three are added as cyan, magenta and
            yellow; two as magenta and green.

    Returns:
        HW3 float32, 0 .. 1. A gray image of one value becomes middle gray.
    """
    image = np.asarray(image, dtype=np.float32)
    return _stretched(image, *_contrast(image), colours)


def shown_channels(image: np.ndarray) -> np.ndarray:
    """Channels that pictures show: CHW to HW for one, else to HWC with the first three."""
    return image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, -1)


def _contrast(image: np.ndarray) -> tuple[Any, Any]:
    """The values that become black and white: one for a gray image, else (C,) float32."""
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] < 2):
        raise ValueError(f"image must be HW (gray) or HWC of at least 2 channels, got {image.shape}")
    if image.ndim == 2:
        return _limits(image)
    limits = [_limits(image[..., channel]) for channel in range(image.shape[2])]
    low, high = np.array(limits, np.float32).T
    return low, high


def _limits(channel: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(channel[np.isfinite(channel)], _SATURATED) if channel.size else (0, 0)
    if high <= low:  # nearly everything has one value: the extremes are all the contrast there is
        low, high = float(channel.min()), float(channel.max())
    return low, high


def _stretched(image: np.ndarray, low: Any, high: Any, colours: bool = True) -> np.ndarray:
    if image.ndim == 2:
        gray = np.clip((image - low) / (high - low), 0, 1) if high > low else np.full_like(image, 0.5)
        return np.repeat(gray[..., None], 3, axis=2)
    channels: np.ndarray = np.clip((image - low) / np.where(high > low, high - low, 1), 0, 1)
    if colours and image.shape[2] == 3:
        return channels
    return np.asarray(np.clip(channels[..., :3] @ (_TWO if image.shape[2] == 2 else _THREE), 0, 1))


def cell_colours(instances: np.ndarray, count: int | None = None) -> np.ndarray:
    """A colour for every label such that cells near one another differ.

    Greedy colouring of the graph of neighbours (cells less than 12 px apart, seen on every second pixel), crowded cells
    first; among the colours no neighbour has, the one used least, so that a picture is colourful even where cells are
    far apart.
    More than 100,000 cells take the colours in turn.

    Args:
        instances: HW, 0 background, 1..N cells.
        count: N; None: the largest number in ``instances``.

    Returns:
        (N+1)x3 float32, 0 .. 255; row 0 is black.
    """
    count = int(instances.max(initial=0)) if count is None else count
    colours = np.zeros((count + 1, 3), dtype=np.float32)
    if count > _MOST_CELLS:
        colours[1:] = PALETTE[np.arange(count) % len(PALETTE)]
        return colours
    neighbours: list[set[int]] = [set() for _ in range(count + 1)]
    seen = instances[::2, ::2]  # a quarter of the time
    for rows, around in strips(seen.shape, halo=_NEIGHBOUR_PX // 4 + 2):
        reach = expand_labels(seen[around], distance=_NEIGHBOUR_PX / 4)
        reach = reach[rows.start - around.start : rows.stop - around.start + 1]  # and the first row of the next strip
        for one, other in (
            (reach[1:], reach[:-1]),
            (reach[:, 1:], reach[:, :-1]),
            (reach[1:, 1:], reach[:-1, :-1]),
            (reach[1:, :-1], reach[:-1, 1:]),
        ):
            touch = (one != other) & (one > 0) & (other > 0)
            for pair in np.unique(one[touch].astype(np.int64) * (count + 1) + other[touch]).tolist():
                a, b = divmod(pair, count + 1)
                neighbours[a].add(b)
                neighbours[b].add(a)
    chosen = np.full(count + 1, -1)
    used = np.zeros(len(PALETTE), dtype=int)
    there = np.flatnonzero(np.bincount(np.maximum(instances, 0).ravel(), minlength=count + 1)[1:]) + 1
    for label in sorted(there.tolist(), key=lambda i: (-len(neighbours[i]), i)):
        taken = {int(chosen[other]) for other in neighbours[label]}
        free = [i for i in range(len(PALETTE)) if i not in taken] or range(len(PALETTE))
        chosen[label] = min(free, key=lambda i: (used[i], i))
        used[chosen[label]] += 1
    colours[1:] = PALETTE[chosen[1:]]
    return colours


def overlay(
    image: np.ndarray,
    instances: np.ndarray,
    fill: float = 0.12,
    width: int | None = None,
    colours: bool = True,
    of_cells: np.ndarray | None = None,
    truth: np.ndarray | None = None,
) -> np.ndarray:
    """The cells' outlines in colour on the image, their inside faintly tinted.

    It is drawn strip by strip, in little more memory than the arrays take. An image longer than 4096 px is scaled
    down by a whole number to at most that.

    Args:
        image: HW gray or HWC.
        instances: HW integers, 0 background, 1..N cells; negative values (ignored pixels) are not drawn.
        fill: opacity of the tint, 0 .. 1.
        width: of the outline in px of the picture, drawn on the cell's own pixels; None takes 1, and one more every
            1000 px.
        colours: how channels are shown, see :func:`stretch`.
        of_cells: colour of each cell at its number, (N+1)x3, 0 .. 255; None takes :func:`cell_colours`.
        truth: HW integers as ``instances``, the cells that a person annotated: outlined in yellow, above all else.

    Returns:
        HW3 uint8; at most 4096 px high and wide, unless one side is thinner than the scale.

    Raises:
        ValueError: when the sizes differ, or the image has another number of axes.
    """
    image, instances = np.asarray(image), np.asarray(instances)
    for name, labels in {"instances": instances, **({} if truth is None else {"truth": np.asarray(truth)})}.items():
        if image.shape[:2] != labels.shape:
            raise ValueError(f"{name} must have the size of the image, {image.shape[:2]}, got {labels.shape}")
    width = width or 1 + min(max(instances.shape), _LARGEST_PX) // 1000
    factor = reduction(instances.shape)
    true = None if truth is None else np.maximum(every(np.asarray(truth), factor), 0)
    image, instances = reduced(image, instances, factor)
    instances = np.maximum(instances, 0, dtype=np.int32, casting="same_kind")
    contrast, of_cells = _contrast(image), (cell_colours(instances) if of_cells is None else of_cells) / 255
    drawn = np.empty((*instances.shape, 3), np.uint8)
    for rows, around in strips(instances.shape, halo=width):
        strip = slice(rows.start - around.start, rows.stop - around.start)
        cells = instances[rows]
        opacity = np.where(cells == 0, 0, np.where(outlines(instances[around], width)[strip], 1, fill))[..., None]
        drawn[rows] = as_bytes(_stretched(image[rows], *contrast, colours) * (1 - opacity) + of_cells[cells] * opacity)
        if true is not None:
            drawn[rows][outlines(true[around], width)[strip]] = _TRUTH
    return drawn


def reduction(size: Sequence[int], most: int | None = None) -> int:
    """By how much an image is scaled down in its overlay, or for ``most`` px; a thin one by less, to be seen."""
    return max(1, min(-(-max(size) // (most or _LARGEST_PX)), min(size)))


def outlines(cells: np.ndarray, width: int) -> np.ndarray:
    """Mask of the outermost ``width`` px of each cell; what lies at the edge of the image is no outline.

    Args:
        cells: HW, 0 background, 1..N cells.
        width: px.
    """
    inside = cells.copy()
    edge = np.zeros(cells.shape, np.bool_)
    for _ in range(width):
        down, right = inside[1:] != inside[:-1], inside[:, 1:] != inside[:, :-1]
        edge[1:] |= down
        edge[:-1] |= down
        edge[:, 1:] |= right
        edge[:, :-1] |= right
        inside[edge] = 0
    return edge & (cells > 0)


def every(cells: np.ndarray, factor: int) -> np.ndarray:
    """Every ``factor``-th pixel, from the middle of the first."""
    if factor <= 1:
        return cells
    high, wide = (n // factor for n in cells.shape)
    middle = slice(factor // 2, None, factor)
    return cells[middle, middle][:high, :wide]


def reduced(image: np.ndarray, instances: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Both smaller by a whole number: means of the image as float32, every ``factor``-th pixel of the cells."""
    if factor <= 1:
        return image.astype(np.float32, copy=False), instances
    high, wide = (n // factor for n in instances.shape)
    small = np.empty((high, wide, *image.shape[2:]), np.float32)
    for row in range(high):
        rows = image[row * factor : (row + 1) * factor, : wide * factor].astype(np.float32)
        small[row] = rows.reshape(factor, wide, factor, *image.shape[2:]).mean(axis=(0, 2))
    return small, every(instances, factor)


def enlarged(array: np.ndarray, zoom: int) -> np.ndarray:
    """Both axes of rows and columns larger by a whole number."""
    return array.repeat(zoom, axis=0).repeat(zoom, axis=1)


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """Values 0 .. 1 as uint8, those beyond as 0 and 255."""
    return np.asarray(np.round(np.clip(picture, 0, 1) * 255), dtype=np.uint8)
