"""The Rand and information theoretic scores of Arganda-Carreras 2015, read literally, pixel by pixel and pair by pair.

Pixels are (y, x); a division of pixels is a dictionary pixel -> number of its region.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from itertools import product
from math import log

import numpy as np

Pixel = tuple[int, int]
Division = dict[Pixel, int]


def neighbours(pixel: Pixel, shape: tuple[int, int]) -> Iterator[Pixel]:
    """Those of the four that lie within the slice."""
    y, x = pixel
    for other in ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)):
        if 0 <= other[0] < shape[0] and 0 <= other[1] < shape[1]:
            yield other


def components(cells: np.ndarray) -> Division:
    """4-connected components, numbered from 1; pixels outside of cells are missing."""
    found: Division = {}
    for seed in zip(*map(list, np.nonzero(cells)), strict=True):
        if seed in found:
            continue
        number = 1 + max(found.values(), default=0)
        found[seed] = number
        open_pixels = [seed]
        while open_pixels:
            for pixel in neighbours(open_pixels.pop(), cells.shape):
                if cells[pixel] and pixel not in found:
                    found[pixel] = number
                    open_pixels.append(pixel)
    return found


def basins(cells: np.ndarray) -> Division:
    """Watershed by flooding from the components of the cells, the membrane scanned column by column; no dams in it."""
    height, width = cells.shape
    if not cells.any():
        return dict.fromkeys(product(range(height), range(width)), 1)
    found = components(cells)
    membrane = [(y, x) for x in range(width) for y in range(height) if not cells[y, x]]
    queue = deque(pixel for pixel in membrane if any(beside in found for beside in neighbours(pixel, cells.shape)))
    queued = set(queue)
    while queue:
        pixel = queue.popleft()
        beside = list(neighbours(pixel, cells.shape))
        touching = {found[other] for other in beside if other in found}
        if len(touching) == 1:
            found[pixel] = touching.pop()
        dry = [other for other in beside if not cells[other] and other not in queued]
        queue.extend(dry)
        queued.update(dry)
    return found


def restricted(true: Division, proposed: Division) -> Division:
    """The proposed division of the true cells' pixels, each that is in no proposed region one of its own."""
    return {pixel: proposed.get(pixel, -1 - order) for order, pixel in enumerate(true)}


def pair_counts(true: Division, proposed: Division) -> tuple[int, int, int]:
    """Ordered pairs of pixels in one region of both, of the proposal, of the truth, by asking every pair."""
    found = restricted(true, proposed)
    both = in_proposal = in_truth = 0
    for p, q in product(true, repeat=2):
        both += true[p] == true[q] and found[p] == found[q]
        in_proposal += found[p] == found[q]
        in_truth += true[p] == true[q]
    return both, in_proposal, in_truth


def entropy(numbers: list) -> float:
    sizes = Counter(numbers).values()
    return sum(size / len(numbers) * log(len(numbers) / size) for size in sizes)


def v_info(true: Division, proposed: Division) -> tuple[float, float, float]:
    """F, split and merge; F is 0 where one of the divisions is a single region."""
    found = restricted(true, proposed)
    of_truth, of_proposal = entropy(list(true.values())), entropy(list(found.values()))
    mutual = of_truth + of_proposal - entropy([(true[pixel], found[pixel]) for pixel in true])
    split = mutual / of_proposal if of_proposal else 1.0
    merge = mutual / of_truth if of_truth else 1.0
    if not of_truth or not of_proposal or split + merge == 0:
        return 0.0, split, merge
    return 2 * split * merge / (split + merge), split, merge
