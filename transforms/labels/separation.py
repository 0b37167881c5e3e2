"""A background ridge between touching cells, made with morphological operations (Ronneberger 2015, section 3)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import product

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from scipy import ndimage

from transforms.labels.instances import instance_array

_NO_NEIGHBOUR = np.iinfo(np.int32).max


class SeparateTouching(Transform):
    """Turn pixels where two instances touch into background, so that no instance is an 8-neighbour of another.

    Touching means 8-neighbours in 2D and 26-neighbours in 3D. Cells that touch nothing stay as they are, and so
    do pixels that nobody annotated. A ridge of ``width`` px takes ``width // 2`` px of either cell; the odd
    pixel is the later-numbered cell's, so that a ridge of 1 px is one-sided. A part of a cell thinner than what
    it has to give disappears.

    Args:
        width: width of the ridge in px along a straight contact; 0 cuts none, where regions are meant to touch.

    Raises:
        ValueError: when ``width`` is not an integer of at least 0.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, width: int = 1) -> None:
        if isinstance(width, bool) or not isinstance(width, int) or width < 0:
            raise ValueError(f"width must be an integer of at least 0 px (0 is the nearest), got {width!r}")
        self.width = width

    def __call__(self, instances: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            instances: 1HW[D] instance map.

        Returns:
            1HW[D] int32 of the same kind as ``instances``.

        Raises:
            ValueError: when ``instances`` is not an instance map.
        """
        cells = instance_array(instances)
        if self.width == 0:
            return convert_to_dst_type(cells, instances, dtype=np.int32)[0]
        ridge = _ridge(cells[0], self.width)
        separated = np.where(ridge, np.int32(0), cells[0])[None]
        return convert_to_dst_type(separated, instances, dtype=np.int32)[0]


def _ridge(cells: np.ndarray, width: int) -> np.ndarray:
    """Mask HW[D] of the pixels that become background."""
    later, earlier = _beside_others(cells)
    if width == 1:
        return later
    return np.asarray(_grow_inside(cells, later, (width + 1) // 2 - 1) | _grow_inside(cells, earlier, width // 2 - 1))


def _beside_others(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks HW[D] of the pixels of cells beside a lower-numbered cell, and beside a higher-numbered one."""
    if cells.ndim == 2:
        from transforms.labels.separation_compiled import beside_others

        return beside_others(np.ascontiguousarray(cells))
    inside = cells > 0
    lowest = ndimage.minimum_filter(np.where(inside, cells, _NO_NEIGHBOUR), 3, mode="nearest")
    highest = ndimage.maximum_filter(cells, 3, mode="nearest")
    return inside & (lowest < cells), inside & (highest > cells)


def _grow_inside(cells: np.ndarray, mask: np.ndarray, steps: int) -> np.ndarray:
    """Grow a mask by ``steps`` px, never from one instance into another."""
    for _ in range(steps):
        grown = mask.copy()
        for offset in product((-1, 0, 1), repeat=cells.ndim):
            here = tuple(slice(max(0, o), n + min(0, o)) for o, n in zip(offset, cells.shape, strict=True))
            there = tuple(slice(max(0, -o), n + min(0, -o)) for o, n in zip(offset, cells.shape, strict=True))
            grown[here] |= mask[there] & (cells[here] == cells[there])
        mask = grown
    return mask


class SeparateTouchingd(MapTransform):
    """Dictionary form of :class:`SeparateTouching`."""

    backend = SeparateTouching.backend

    def __init__(self, keys: KeysCollection, width: int = 1, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.separate = SeparateTouching(width)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.separate(d[key])
        return d
