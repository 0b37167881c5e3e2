"""Draw touching cells as differential interference contrast (DIC) shows them, together with their instances.

The images imitate the DIC-C2DH-HeLa frames of the Cell Tracking Challenge, on which the paper shows why touching
cells are hard: inside and outside have the same mean gray value, and what tells them apart is texture and the
shading along borders. DIC shows the derivative of the optical path along the shear direction; so does this:

    image = 128 + uneven light + gain * d/ds (thickness of bodies, nuclei, granules and vesicles) + noise
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bundle.data.drawing import largest_parts, smooth_noise

#: radius of a cell, px; with it 256 x 256 px hold 10 to 25 cells
RADIUS = (21.0, 29.0)
#: px^2 of image for each cell
AREA_PER_CELL = 256 * 256 / 16.5


def draw_cells(size: Sequence[int] = (256, 256), seed: int | Sequence[int] = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image.

    Args:
        size: height and width, px.
        seed: of numpy's legacy generator, whose stream never changes.

    Returns:
        image, HW uint8, and its cells, HW uint16: 0 background, 1..N instances, each connected.
    """
    random = np.random.RandomState(seed)
    shape = (int(size[0]), int(size[1]))
    labels, nearness = _cells(random, shape)
    thickness = _thickness(random, labels, nearness)
    shear = thickness - ndimage.shift(thickness, (1.0, 1.0), order=1, mode="nearest")
    light = smooth_noise(random, shape, 60) * 4 + np.linspace(-3, 3, shape[1]) * random.uniform(-1, 1)
    grain = smooth_noise(random, shape, 0.7) * 2.6
    image = 128 + light + 18.0 * shear + grain
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels


def _cells(random: np.random.RandomState, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Instances grown from seeds: where two would overlap, the nearer one wins, so that they truly touch."""
    nearest = np.full(shape, np.inf)
    labels = np.zeros(shape, np.uint16)
    for number, (row, column, radius) in enumerate(_place(random, shape), 1):
        reach = 1.6 * radius
        window = _window(row, reach, shape[0]), _window(column, reach, shape[1])
        down = np.arange(window[0].start, window[0].stop)[:, None] - row
        right = np.arange(window[1].start, window[1].stop)[None] - column
        # an ellipse with a wavy outline: distance from the centre in units of the radius in that direction
        angle = np.arctan2(down, right)
        outline = 1 + random.uniform(0.0, 0.3) * np.cos(2 * (angle - random.uniform(0, np.pi)))
        for wave in range(3, 7):
            outline += random.uniform(0, 0.2 / wave) * np.cos(wave * angle + random.uniform(0, 2 * np.pi))
        distance = np.hypot(down, right) / (radius * outline)
        here = (distance < 1) & (distance < nearest[window])
        labels[window][here] = number
        nearest[window][here] = distance[here]
    return largest_parts(labels, 80), nearest


def _window(centre: float, reach: float, side: int) -> slice:
    return slice(max(0, int(centre - reach)), max(0, min(side, int(centre + reach) + 1)))


def _place(random: np.random.RandomState, shape: tuple[int, int]) -> list[tuple[float, float, float]]:
    """Centres and radii, px: most cells lie against an earlier one, the others start a new cluster."""
    wanted = max(2, round(shape[0] * shape[1] / AREA_PER_CELL * random.uniform(0.72, 1.4)))
    seeds: list[tuple[float, float, float]] = []
    for _ in range(60 * wanted):
        radius = random.uniform(*RADIUS)
        if seeds and random.uniform() < 0.85:
            row, column, other = seeds[random.randint(len(seeds))]
            angle, apart = random.uniform(0, 2 * np.pi), (radius + other) * random.uniform(0.74, 0.9)
            row, column = row + apart * np.sin(angle), column + apart * np.cos(angle)
        else:
            row, column = random.uniform(0, shape[0]), random.uniform(0, shape[1])
        # a centre up to 4 px outside still shows nearly half a cell at the edge of the image
        inside = -4 < row < shape[0] + 4 and -4 < column < shape[1] + 4
        free = all(np.hypot(row - r, column - c) > 0.73 * (radius + other) for r, c, other in seeds)
        if inside and free:
            seeds.append((row, column, radius))
        if len(seeds) == wanted:
            break
    return seeds


def _thickness(random: np.random.RandomState, labels: np.ndarray, nearness: np.ndarray) -> np.ndarray:
    """Optical thickness, in units of the shading's gain: flat cells with steep borders, a nucleus, granules.

    Args:
        labels: HW instances.
        nearness: HW, 0 in the centre of a cell to 1 at its outline.
    """
    thickness = np.zeros(labels.shape)
    spots = np.zeros(labels.shape)
    granules = smooth_noise(random, labels.shape, 1.1) * 0.75 + smooth_noise(random, labels.shape, 2.2) * 0.9
    for cell, window in enumerate(ndimage.find_objects(labels), 1):
        # one px around the window, so that its border counts as outside; beyond the image the cell goes on
        around = np.pad(labels, 1, mode="edge")[tuple(slice(side.start, side.stop + 2) for side in window)]
        inside = labels[window] == cell
        depth = ndimage.distance_transform_edt(around == cell)[1:-1, 1:-1]
        nucleus = 1 / (1 + np.exp((nearness[window] - random.uniform(0.4, 0.5)) * 22))
        body = random.uniform(2.4, 3.8) * (1 - np.exp((0.5 - depth) / 1.5))
        # granules fade towards the border; the nucleus is smoother than what surrounds it and stands out a little
        texture = granules[window] * random.uniform(0.6, 1.1) * np.minimum(1, depth / 4) * (1 - 0.6 * nucleus)
        thickness[window] += (body + texture + 1.2 * nucleus) * inside
        if random.uniform() < 0.5:
            spots[window] += _vesicles(random, inside & (nearness[window] > 0.45) & (depth > 3))
    return np.asarray(ndimage.gaussian_filter(thickness, 0.6) + ndimage.gaussian_filter(spots, 1.2))


def _vesicles(random: np.random.RandomState, where: np.ndarray) -> np.ndarray:
    """The centres of a few round bodies, thinner or thicker than what surrounds them; 0 elsewhere."""
    spots = np.zeros(where.shape)
    places = np.argwhere(where)
    if len(places):
        chosen = places[random.randint(len(places), size=random.randint(3, 14))]
        spots[tuple(chosen.T)] = random.choice([-1, 1], p=[0.6, 0.4], size=len(chosen)) * random.uniform(18, 36)
    return spots
