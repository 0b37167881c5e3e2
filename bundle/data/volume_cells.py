"""Draw touching nuclei as a fluorescence microscope shows them in a volume, together with their instances.

    image = 30 + 110 * brightness of the nucleus * texture, darker towards its surface, blurred as by a lens, + noise

Where two nuclei touch there is but a faint dip between them, and along the optical axis it is fainter still.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bundle.data.drawing import largest_parts, smooth_noise
from bundle.geometry import relative_spacing

#: radius of a nucleus, px of the finest axis
RADIUS = (7.0, 10.0)
#: part of the volume that nuclei fill, about
DENSITY = (0.3, 0.42)
#: standard deviation of the blur across and along the last axis, px of the finest one
BLUR = (0.7, 0.7, 1.2)


def draw_volume(
    size: Sequence[int], seed: int | Sequence[int] = 0, spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one volume.

    Args:
        size: along three axes, px.
        seed: of numpy's legacy generator, whose stream never changes.
        spacing: distance between voxels along each axis, of which only the proportions count.

    Returns:
        image, HWD uint8, and its nuclei, HWD uint16: 0 background, 1..N instances, each connected.
    """
    random = np.random.RandomState(seed)
    shape, apart = tuple(int(n) for n in size), np.array(relative_spacing(spacing))
    labels, nearness = _nuclei(random, shape, apart)
    image = np.zeros(shape)
    texture = smooth_noise(random, shape, 1.5 / apart) * 0.18
    for nucleus, window in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[window] == nucleus
        rim = 1 / (1 + np.exp((nearness[window] - 0.93) * 18))
        image[window] += inside * random.uniform(0.7, 1.2) * rim * (1 + texture[window])
    image = ndimage.gaussian_filter(image, np.array(BLUR) / apart)
    light = 1 + 0.12 * smooth_noise(random, shape, 30 / apart)
    noise = random.standard_normal(shape)
    image = 30 + 110 * image * light
    return np.clip(np.rint(image + noise * (4 + 0.06 * image)), 0, 255).astype(np.uint8), labels


def _nuclei(random: np.random.RandomState, shape: tuple[int, ...], apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Instances, and how near to its own centre each voxel is: 0 in the centre of a nucleus to 1 at its surface.

    Where two would overlap the nearer one wins, so that they truly touch.
    """
    nearest = np.full(shape, np.inf)
    labels = np.zeros(shape, np.uint16)
    for number, (centre, radius) in enumerate(_place(random, np.array(shape) * apart), 1):
        window = tuple(
            slice(max(0, int((c - 1.4 * radius) / a)), max(0, min(n, int((c + 1.4 * radius) / a) + 2)))
            for c, a, n in zip(centre, apart, shape, strict=True)
        )
        offset = [np.arange(w.start, w.stop) * a - c for w, a, c in zip(window, apart, centre, strict=True)]
        axes = random.uniform(0.85, 1.15, 3) * radius
        turn = np.linalg.qr(random.standard_normal((3, 3)))[0]
        grid = np.stack(np.meshgrid(*offset, indexing="ij"), axis=-1) @ turn
        distance = np.sqrt(((grid / axes) ** 2).sum(-1))
        here = (distance < 1) & (distance < nearest[window])
        labels[window][here] = number
        nearest[window][here] = distance[here]
    return largest_parts(labels, round(150 / float(np.prod(apart)))), nearest


def _place(random: np.random.RandomState, extent: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Centres and radii, px of the finest axis: most nuclei lie against an earlier one."""
    mean = np.mean(RADIUS)
    wanted = max(2, round(float(np.prod(extent)) * random.uniform(*DENSITY) / (4 / 3 * np.pi * mean**3)))
    seeds: list[tuple[np.ndarray, float]] = []
    for _ in range(60 * wanted):
        radius = random.uniform(*RADIUS)
        if seeds and random.uniform() < 0.8:
            centre, other = seeds[random.randint(len(seeds))]
            direction = random.standard_normal(3)
            centre = centre + direction / np.linalg.norm(direction) * (radius + other) * random.uniform(0.82, 0.95)
        else:
            centre = random.uniform(0, extent)
        inside = bool(np.all(centre > -2) and np.all(centre < extent + 2))
        if inside and all(np.linalg.norm(centre - c) > 0.8 * (radius + other) for c, other in seeds):
            seeds.append((centre, radius))
        if len(seeds) == wanted:
            break
    return seeds
