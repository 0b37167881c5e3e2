"""From the probability of "cell" to labelled cells."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import DtypeLike, KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_data_type, convert_to_dst_type, ensure_tuple_rep
from scipy import ndimage as ndi

from bundle.cells import regions

__all__ = ["ProbabilityToInstances", "ProbabilityToInstancesd", "probability_to_instances"]

_SEEDS = (None, "distance", "probability")


def probability_to_instances(
    probability: np.ndarray,
    threshold: float = 0.5,
    min_size: int = 0,
    fill_holes: bool = True,
    grow: float = 0.0,
    seeds: str | None = None,
    seed_distance: float = 10.0,
    outline: float | None = None,
    connectivity: int = 1,
    spatial_dims: int | None = None,
) -> np.ndarray:
    """Label the cells of a probability map.

    In this order: threshold, connected components, holes filled, components split at seeds, small cells removed, the
    others extended to their outline, the ridge between cells grown back, labels made contiguous.

    Args:
        probability: HW[D], any float type, the probability of "cell", 0 .. 1.
        threshold: a pixel is cell where the probability is greater; at least 0 and below 1.
        min_size: cells of fewer px (voxels in 3D) are removed; 0 keeps all.
        fill_holes: fill background that one cell alone encloses. A gap that several cells enclose, or that
            reaches the edge of the image, stays.
        grow: px. Gaps between two cells that are at most twice as wide are closed, each px going to the nearer
            cell: this undoes the ridge that the separation of touching cells cut before training (1 px: grow 1).
            Outer borders stay where they are, and cells never merge.
        seeds: how cells that touch are split by a watershed: None leaves them whole; "distance" seeds at the
            maxima of the distance to the background, for round cells; "probability" at the maxima of the
            smoothed probability, for cells with a faint border in between.
        seed_distance: px, at least 1; seeds are at least that far apart: about the radius of the smallest cell.
        outline: a second threshold, below the first: cells are told apart at ``threshold``, where the ridges between
            them are wide, and end at ``outline``. A px above it goes to the cell that a flooding down the
            probability reaches it from; one that hangs together with no cell is background. None: cells end at
            ``threshold``. A border weight in training makes ridges wide and cells small; this undoes it.
        connectivity: 1 (edges: 4 neighbours, 6 in 3D) up to the number of axes of one image (corners too).
        spatial_dims: axes of one image: 2 takes HWD as a stack and labels each slice along the last axis alone, as a
            2D network saw it, with sizes in px of a slice; None and 3 take HWD as one volume.

    Returns:
        HW[D] int32: 0 background, cells 1 .. N in the order of their first pixel. In a stack the numbers go on from
        slice to slice: N is the number of cells of all slices, and no two slices share one.

    Raises:
        ValueError: for another number of axes, an empty map, NaN, values outside 0 .. 1, or an option out of its
            range.
    """
    _check_options(threshold, min_size, grow, seeds, seed_distance, outline, connectivity, spatial_dims)
    probability = _checked_map(probability, connectivity, spatial_dims)
    if spatial_dims is not None and spatial_dims < probability.ndim:
        options = (threshold, min_size, fill_holes, grow, seeds, seed_distance, outline, connectivity)
        return _stacked([probability_to_instances(plane, *options) for plane in np.moveaxis(probability, -1, 0)])
    cells, count = ndi.label(probability > threshold, ndi.generate_binary_structure(probability.ndim, connectivity))
    if fill_holes:
        cells = regions.fill_holes(cells, count, connectivity)
    if seeds is not None and cells.any():
        cells = regions.split_touching(cells, probability, seeds, seed_distance, connectivity)
    cells[np.bincount(cells.ravel())[cells] < min_size] = 0
    if outline is not None and cells.any():
        cells = regions.extend(cells, probability, outline, connectivity)
        if fill_holes:
            cells = regions.fill_holes(cells, int(cells.max()), connectivity)
    if grow > 0:
        cells = regions.close_ridges(cells, grow)
    return _contiguous(cells)


def _check_options(
    threshold: float,
    min_size: int,
    grow: float,
    seeds: str | None,
    seed_distance: float,
    outline: float | None,
    connectivity: int,
    spatial_dims: int | None,
) -> None:
    if not 0 <= threshold < 1:
        nearest = 0 if threshold < 0 else 0.99
        raise ValueError(f"threshold must be at least 0 and below 1 ({nearest} is near), got {threshold}")
    if outline is not None and not 0 <= outline <= threshold:
        nearest = 0 if outline < 0 else threshold
        raise ValueError(f"outline must be None or 0 .. threshold {threshold} ({nearest} is near), got {outline}")
    for name, value, least in (("min_size", min_size, 0), ("grow", grow, 0), ("seed_distance", seed_distance, 1)):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least} px ({least} is the nearest), got {value}")
    if seeds not in _SEEDS:
        raise ValueError(f'seeds must be None, "distance" or "probability", got {seeds!r}')
    if connectivity not in (1, 2, 3):
        raise ValueError(f"connectivity must be 1 up to the number of axes (1 is usual), got {connectivity}")
    if spatial_dims not in (None, 2, 3):
        raise ValueError(f"spatial_dims must be None, 2 or 3 (2 for slices, 3 for volumes), got {spatial_dims}")


def _checked_map(probability: np.ndarray, connectivity: int, spatial_dims: int | None) -> np.ndarray:
    probability = np.asarray(probability)
    if probability.ndim not in (2, 3) or probability.size == 0:
        raise ValueError(f"probability must be a map HW or HWD with at least one px, got {probability.shape}")
    axes = probability.ndim if spatial_dims is None else spatial_dims
    if axes > probability.ndim:
        raise ValueError(
            f"spatial_dims must be at most {probability.ndim} for a map of {probability.ndim} axes "
            f"{probability.shape} ({probability.ndim} is the nearest), got {spatial_dims}"
        )
    if connectivity > axes:
        raise ValueError(
            f"connectivity must be 1 .. {axes} for images of {axes} axes ({axes} is the nearest), got {connectivity}"
        )
    low, high = float(probability.min()), float(probability.max())
    if np.isnan(low):
        raise ValueError(f"probability holds {np.isnan(probability).sum()} NaN; all values must be 0 .. 1")
    if low < 0 or high > 1:
        raise ValueError(
            f"probability must be 0 .. 1, got {low:g} .. {high:g}: apply a softmax to logits, divide 8 bit by 255"
        )
    return probability


def _contiguous(cells: np.ndarray) -> np.ndarray:
    """Labels 1 .. N in the order of their first pixel."""
    values, first = np.unique(cells, return_index=True)
    order = values[np.argsort(first)]
    order = order[order > 0]
    table = np.zeros(int(values[-1]) + 1, dtype=np.int32)
    table[order] = np.arange(1, len(order) + 1)
    return np.asarray(table[cells])


def _stacked(planes: list[np.ndarray]) -> np.ndarray:
    """Labels of slices as one HWD, each slice numbered on from the one before."""
    count = 0
    for cells in planes:
        found = int(cells.max())
        cells[cells > 0] += count
        count += found
    return np.stack(planes, axis=-1)


class ProbabilityToInstances(Transform):
    """Array form of :func:`probability_to_instances`: 1HW[D] probabilities -> 1HW[D] int32 cells.

    Args:
        options: see :func:`probability_to_instances`; they are checked here already.

    Raises:
        ValueError: for options or maps that the function refuses, or more than one channel.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        threshold: float = 0.5,
        min_size: int = 0,
        fill_holes: bool = True,
        grow: float = 0.0,
        seeds: str | None = None,
        seed_distance: float = 10.0,
        outline: float | None = None,
        connectivity: int = 1,
        spatial_dims: int | None = None,
    ) -> None:
        _check_options(threshold, min_size, grow, seeds, seed_distance, outline, connectivity, spatial_dims)
        self.options: dict[str, Any] = {
            "threshold": threshold,
            "min_size": min_size,
            "fill_holes": fill_holes,
            "grow": grow,
            "seeds": seeds,
            "seed_distance": seed_distance,
            "outline": outline,
            "connectivity": connectivity,
            "spatial_dims": spatial_dims,
        }

    def __call__(self, probability: NdarrayOrTensor) -> NdarrayOrTensor:
        if probability.ndim not in (3, 4) or probability.shape[0] != 1:
            raise ValueError(f"probability must be 1HW or 1HWD (one channel), got {tuple(probability.shape)}")
        array, *_ = convert_data_type(probability, np.ndarray)
        cells = probability_to_instances(array[0], **self.options)[None]
        dtype: DtypeLike = np.int32
        return convert_to_dst_type(cells, probability, dtype=dtype)[0]


class ProbabilityToInstancesd(MapTransform):
    """Dictionary form of :class:`ProbabilityToInstances`.

    Args:
        keys: items that hold the probability, 1HW[D].
        output_keys: where the cells go; None replaces the probability.
        allow_missing_keys: leave out items that are missing.
        options: see :func:`probability_to_instances`.
    """

    backend = ProbabilityToInstances.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection | None = None,
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(self.keys if output_keys is None else output_keys, len(self.keys))
        self.label = ProbabilityToInstances(**options)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.label(d[key])
        return d
