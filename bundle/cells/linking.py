"""Cells of neighbouring slices that overlap, as instances of the volume: serial sections in three dimensions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import TransformBackends, convert_data_type, convert_to_dst_type
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def link_slices(cells: np.ndarray, share: float = 0.5) -> np.ndarray:
    """Join the cells of neighbouring slices that overlap.

    Two cells are one where their overlap is at least ``share`` of the area of the smaller one. So a tube that branches
    stays one instance: each branch lies within the cell that it comes from. Links go from slice to slice only; whatever
    is linked with one cell is linked with each other.

    Args:
        cells: HWD integers, 0 background, 1.. the cells of each slice along the last axis; the same number in two
            slices means nothing.
        share: above 0, to 1.

    Returns:
        HWD int32: 0 background, 1..N in the order in which slices and numbers begin.

    Raises:
        ValueError: for another number of axes or another ``share``.

    Examples:
        >>> stack = np.array([[[1, 1], [1, 0], [0, 0], [2, 2]]])  # 1 row, 4 columns, 2 slices
        >>> link_slices(stack)[0].T.tolist()
        [[1, 1, 0, 2], [1, 0, 0, 2]]
    """
    if np.ndim(cells) != 3:
        raise ValueError(f"linking needs a stack HWD, got an image of {np.ndim(cells)} axes: give whole stacks")
    _require_share(share)
    nodes, count = _numbered_on(np.asarray(cells))
    areas = np.bincount(nodes.ravel(), minlength=count + 1)
    before, after = nodes[..., :-1].ravel(), nodes[..., 1:].ravel()
    both = (before > 0) & (after > 0)
    codes, overlap = np.unique(before[both] * (count + 1) + after[both], return_counts=True)
    one, other = np.divmod(codes, count + 1)
    linked = overlap >= share * np.minimum(areas[one], areas[other])
    one, other = one[linked], other[linked]
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(count + 1, count + 1))
    _, group = connected_components(graph, directed=False)
    # in the order of their first cell; node 0, the background, is alone and the first
    _, first, numbers = np.unique(group, return_index=True, return_inverse=True)
    order: np.ndarray = np.argsort(np.argsort(first))[numbers].astype(np.int32)
    return np.asarray(order[nodes])


def _numbered_on(cells: np.ndarray) -> tuple[np.ndarray, int]:
    """Cells numbered 1.. through all slices, and how many there are."""
    nodes, count = np.zeros(cells.shape, np.int64), 0
    for index in range(cells.shape[-1]):
        plane = np.maximum(cells[..., index], 0)
        present, inverse = np.unique(plane, return_inverse=True)
        numbers = np.cumsum(present > 0) + count
        nodes[..., index] = np.where(present > 0, numbers, 0)[inverse].reshape(plane.shape)
        count += int((present > 0).sum())
    return nodes, count


def _require_share(share: float) -> None:
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"link must be a share of the smaller cell's area, above 0 and at most 1, got {share!r}")


def require_linkable(share: float | None, large: Sequence[str], volumes: bool, of_pixels: bool) -> None:
    """Check before anything runs that cells can be linked, where they are to be.

    Args:
        share: see :func:`link_slices`; None: they are not to be.
        large: images that are segmented block by block.
        volumes: the network takes volumes.
        of_pixels: its classes are those of pixels.

    Raises:
        ValueError: naming what stands against it.
    """
    if share is None:
        return
    _require_share(share)
    if large:
        raise ValueError(f"link needs whole stacks, {large[0]} is segmented block by block: leave one of them out")
    if volumes or of_pixels:
        what = "takes volumes, whose cells are linked already" if volumes else "finds the cells of each class apart"
        raise ValueError(f"link is for cells of one kind in slices, and this network {what}: leave it out")


class LinkSlicesd(MapTransform):
    """Dictionary form of :func:`link_slices`, of 1HWD maps; an image without slices stays as it is.

    Args:
        keys: of the cells.
        share: see :func:`link_slices`.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, keys: KeysCollection, share: float = 0.5) -> None:
        super().__init__(keys)
        _require_share(share)
        self.share = share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if d[key].ndim == 4:
                cells, *_ = convert_data_type(d[key], np.ndarray)
                d[key] = convert_to_dst_type(link_slices(cells[0], self.share)[None], d[key], dtype=np.int32)[0]
        return d
