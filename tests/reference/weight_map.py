"""Ronneberger 2015, eq. (2), read literally: one distance transform a cell, stack them, sort them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt


def two_nearest_distances(instances: np.ndarray, spacing: tuple[float, ...] | None = None) -> tuple[np.ndarray, ...]:
    """d1, d2 of every pixel: HW[D] float64, inf where there is no such cell."""
    cells = [number for number in np.unique(instances) if number > 0]
    distances = [distance_transform_edt(instances != number, sampling=spacing) for number in cells]
    distances += [np.full(instances.shape, np.inf)] * 2
    ordered = np.sort(np.stack(distances), axis=0)
    return ordered[0], ordered[1]


def weight_map(
    instances: np.ndarray,
    w0: float = 10.0,
    sigma: float = 5.0,
    max_balance: float = 10.0,
    border_on: str = "everywhere",
    class_of: dict[int, int] | None = None,
    spacing: tuple[float, ...] | None = None,
) -> np.ndarray:
    """w of every pixel: HW[D] float64; balanced classes; 0 where the map is negative (not annotated).

    ``class_of`` gives the class of each instance; without it there are cell and background.
    """
    d1, d2 = two_nearest_distances(instances, spacing)
    weight = np.zeros(instances.shape)

    def class_at(index: tuple[int, ...]) -> int:
        number = int(instances[index])
        return 0 if number == 0 else 1 if class_of is None else class_of[number]

    annotated = [index for index in np.ndindex(instances.shape) if instances[index] >= 0]
    n: dict[int, int] = {}
    for index in annotated:
        n[class_at(index)] = n.get(class_at(index), 0) + 1
    for index in annotated:
        this = class_at(index)
        balance = 1.0
        if len(n) > 1:
            balance = len(annotated) / (len(n) * n[this])
            balance = min(max(balance, 1 / max_balance), max_balance)
        border = w0 * np.exp(-((d1[index] + d2[index]) ** 2) / (2 * sigma**2))
        weight[index] = balance + (border if border_on == "everywhere" or this == 0 else 0.0)
    return weight
