"""From the probability of "cell" to labelled cells."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_data_type, convert_to_dst_type, ensure_tuple_rep
from scipy import ndimage as ndi

from bundle.cells import regions
from bundle.cells.options import CellOptions


def probability_to_instances(probability: np.ndarray, options: CellOptions | None = None, **changes: Any) -> np.ndarray:
    """Label the cells of a probability map.

    In this order: threshold, connected components, holes filled, components split at seeds, small cells removed, the
    others extended down to the low threshold, gaps between cells closed, labels made contiguous.

    Args:
        probability: HW[D], any float type, the probability of "cell", 0 .. 1.
        options: how; None takes the defaults of :class:`bundle.cells.CellOptions`.
        changes: single options by name, instead of those of ``options``.

    Returns:
        HW[D] int32: 0 background, cells 1 .. N in the order of their first pixel. In a stack the numbers continue from
        slice to slice: N is the number of cells of all slices, and no two slices share one.

    Raises:
        ValueError: for another number of axes, an empty map, NaN, values outside 0 .. 1, or an option that is unknown
            or out of its range.
    """
    o = CellOptions.of(options, **changes)
    probability = _checked_map(probability, o)
    if o.spatial_dims is not None and o.spatial_dims < probability.ndim:
        return _slice_by_slice(probability, o)
    cells, count = ndi.label(probability > o.threshold, ndi.generate_binary_structure(probability.ndim, o.connectivity))
    if o.fill_holes:
        regions.fill_holes(cells, count, o.connectivity)
    if o.split_by is not None and count:
        count = regions.split_touching(
            cells, count, probability, o.split_by, o.split_distance, o.connectivity, o.spacing
        )
    regions.drop_small(cells, count, o.min_size)
    if o.low_threshold is not None and count:
        regions.extend(cells, count, probability, o.low_threshold, o.connectivity)
        if o.fill_holes:
            regions.fill_holes(cells, count, o.connectivity)
    if o.close_gaps > 0:
        cells = regions.close_gaps(cells, o.close_gaps)
    regions.in_order(cells, count)
    return np.asarray(cells)


def _checked_map(probability: np.ndarray, options: CellOptions) -> np.ndarray:
    spatial_dims = options.spatial_dims
    probability = np.asarray(probability)
    if probability.ndim not in (2, 3) or probability.size == 0:
        raise ValueError(f"probability must be a map HW or HWD with at least one px, got {probability.shape}")
    axes = probability.ndim if spatial_dims is None else spatial_dims
    if axes > probability.ndim:
        raise ValueError(
            f"spatial_dims must be at most {probability.ndim} for a map of {probability.ndim} axes "
            f"{probability.shape} ({probability.ndim} is the nearest), got {spatial_dims}"
        )
    options.require_axes(axes)
    low, high = float(probability.min()), float(probability.max())
    if np.isnan(low):
        raise ValueError(f"probability holds {np.isnan(probability).sum()} NaN; all values must be 0 .. 1")
    if low < 0 or high > 1:
        raise ValueError(
            f"probability must be 0 .. 1, got {low:g} .. {high:g}: apply a softmax to logits, divide 8 bit by 255"
        )
    return probability


def _slice_by_slice(probability: np.ndarray, options: CellOptions) -> np.ndarray:
    """Each slice along the last axis, numbered on from the one before."""
    cells = np.empty(probability.shape, dtype=np.int32)
    count = 0
    for index in range(probability.shape[-1]):
        found = probability_to_instances(probability[..., index], options, spatial_dims=None)
        highest = int(found.max())
        found[found > 0] += count
        cells[..., index] = found
        count += highest
    return cells


class ProbabilityToInstances(Transform):
    """Array form of :func:`probability_to_instances`: 1HW[D] probabilities -> 1HW[D] int32 cells.

    Of several classes, KHW[D] with the background's first, the cells are those of all others together.

    Args:
        options, changes: see :func:`probability_to_instances`; they are checked here already.

    Raises:
        ValueError: for options or maps that the function refuses.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, options: CellOptions | None = None, **changes: Any) -> None:
        self.options = CellOptions.of(options, **changes)

    def __call__(self, probability: NdarrayOrTensor) -> NdarrayOrTensor:
        if probability.ndim not in (3, 4) or probability.shape[0] == 0:
            raise ValueError(f"probability must be 1HW or 1HWD (KHW[D] of K classes), got {tuple(probability.shape)}")
        array, *_ = convert_data_type(probability, np.ndarray)
        foreground = array[0] if len(array) == 1 else array[1:].sum(axis=0).clip(0, 1)
        cells = probability_to_instances(foreground, self.options)[None]
        return convert_to_dst_type(cells, probability, dtype=np.int32)[0]


class ProbabilityToInstancesd(MapTransform):
    """Dictionary form of :class:`ProbabilityToInstances`.

    Args:
        keys: items that hold the probability, 1HW[D] or KHW[D].
        output_keys: where the cells go; None replaces the probability.
        allow_missing_keys: leave out items that are missing.
        options, changes: see :func:`probability_to_instances`.
    """

    backend = ProbabilityToInstances.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection | None = None,
        allow_missing_keys: bool = False,
        options: CellOptions | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(self.keys if output_keys is None else output_keys, len(self.keys))
        self.label = ProbabilityToInstances(options, **changes)
        self.options = self.label.options

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.label(d[key])
        return d
