"""Cells to measure on: a given number of them, packed until they touch."""

from __future__ import annotations

import math

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.spatial import KDTree


def cells(size: int, count: int, seed: int = 0) -> np.ndarray:
    """HW int32 instance map of exactly ``count`` round cells, most of which touch another.

    Centres lie on a jittered lattice; every pixel belongs to the nearest one within reach.
    """
    random = np.random.RandomState(seed)
    lattice = math.ceil(math.sqrt(count))
    pitch = size / lattice
    nodes = (np.indices((lattice, lattice)).reshape(2, -1).T + 0.5) * pitch
    chosen = nodes[random.permutation(len(nodes))[:count]]
    centres = chosen + random.uniform(-0.15, 0.15, chosen.shape) * pitch
    pixels = np.indices((size, size)).reshape(2, -1).T
    distance, nearest = KDTree(centres).query(pixels)
    return np.where(distance < 0.52 * pitch, nearest + 1, 0).astype(np.int32).reshape(size, size)


def gray(instances: np.ndarray, seed: int = 0) -> np.ndarray:
    """HW float32 image of an instance map: cells brighter than the background, with noise."""
    noise = np.random.RandomState(seed).standard_normal(instances.shape)
    return ((instances > 0) + 0.1 * noise).astype(np.float32)


def training_item(size: int, count: int, seed: int = 0) -> dict[str, MetaTensor]:
    """Image and instances of :func:`cells`, CHW, as a training has loaded them."""
    instances = cells(size, count, seed)
    arrays = {"image": gray(instances, seed), "label": instances}
    return {key: MetaTensor(torch.from_numpy(array)[None]) for key, array in arrays.items()}
