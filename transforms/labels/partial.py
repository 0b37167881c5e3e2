"""Where a label is known to be incomplete: cells that somebody saw and nobody outlined are neither cell nor background.

The gold truth of the Cell Tracking Challenge outlines some of the cells of a frame. The others show in its markers
(every cell that a person saw, mostly a small disc inside it) and in its silver truth (outlines of several methods).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from scipy import ndimage

from transforms.labels.instances import IGNORE, instance_array


class IgnoreUnannotated(Transform):
    """Set the pixels of cells that an instance map leaves out to :data:`transforms.labels.instances.IGNORE`.

    Annotated cells stay as they are, whatever the evidence says: the annotation is the better outline.

    - A silver cell or a marker *is* an annotated cell when more than half of its own pixels lie on annotated cells.
      What such a silver cell has beyond the annotated outline stays background.
    - Any other silver cell becomes IGNORE, where it is not annotated.
    - A marker of which more than half is neither on annotated nor on silver cells belongs to a cell of unknown extent:
      everything within ``reach`` of it becomes IGNORE, where it is not annotated.

    Args:
        reach: how far a cell may extend from its marker, in px between pixel centres. None: as far as in the same
            frame any cell does that has an outline (annotated, or silver where not) and holds more than half of a
            marker. Where there is none to learn from, the whole background becomes IGNORE.

    Raises:
        ValueError: when ``reach`` is negative; on call, for maps of different shapes or that are no instance maps.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, reach: float | None = None) -> None:
        if reach is not None and not reach >= 0:
            raise ValueError(f"reach must be at least 0 px, or None to estimate it, got {reach}")
        self.reach = reach

    def __call__(
        self,
        instances: NdarrayOrTensor,
        markers: NdarrayOrTensor | None = None,
        silver: NdarrayOrTensor | None = None,
    ) -> NdarrayOrTensor:
        """
        Args:
            instances: 1HW[D] instance map of the annotated cells.
            markers: 1HW[D] whole numbers, a number for each cell seen; None when there are none.
            silver: 1HW[D] instance map of less trusted outlines; None when there is none.

        Returns:
            1HW[D] int32 of the same kind as ``instances``.
        """
        label = instance_array(instances)
        annotated = label[0] > 0
        # every cell of which an outline is known, and where cells are that the annotation leaves out
        outlines, unknown = np.where(annotated, label[0], 0).astype(np.int64), np.zeros(annotated.shape, dtype=bool)
        seen = annotated
        if silver is not None:
            cells = _same_grid(silver, "silver", label)
            unknown = _mostly_outside(cells, annotated)
            outlines = np.where(unknown & ~annotated, cells + outlines.max(initial=0), outlines)
            seen = annotated | (cells > 0)
        if markers is not None:
            discs = _same_grid(markers, "markers", label)
            alone = _mostly_outside(discs, seen)
            if alone.any():
                reach = _reach(outlines, discs) if self.reach is None else self.reach
                unknown = unknown | (ndimage.distance_transform_edt(~alone) <= reach)
        out = np.where(unknown & ~annotated, np.int32(IGNORE), label[0])[None]
        return convert_to_dst_type(out, instances, dtype=np.int32)[0]


def _same_grid(evidence: NdarrayOrTensor, name: str, label: np.ndarray) -> np.ndarray:
    array = instance_array(evidence, name)
    if array.shape != label.shape:
        raise ValueError(f"{name} has shape {array.shape}, the label {label.shape}: they must be equal")
    return np.asarray(array[0])


def _mostly_outside(objects: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Mask of the objects (positive numbers) of which at most half of the pixels are ``inside``."""
    names, index = np.unique(objects, return_inverse=True)
    index = index.ravel()
    area, covered = np.bincount(index), np.bincount(index, weights=inside.ravel())
    return ((2 * covered <= area) & (names > 0))[index].reshape(objects.shape)


def _reach(outlines: np.ndarray, markers: np.ndarray) -> float:
    """Largest distance in px from a pixel of a cell to the markers that are the cell's; inf where no cell has any.

    ``outlines`` has background: the caller has a marker there.
    """
    cells, discs = (np.unique(array, return_inverse=True)[1] for array in (outlines, markers))
    cells, discs = cells.reshape(outlines.shape), discs.reshape(markers.shape)
    both = (outlines > 0) & (markers > 0)
    (disc, cell), overlap = np.unique(np.stack([discs[both], cells[both]]), axis=1, return_counts=True)
    own = 2 * overlap > np.bincount(discs.ravel())[disc]
    boxes = ndimage.find_objects(cells)
    reaches = []
    for number in np.unique(cell[own]):
        box = boxes[number - 1]
        body = cells[box] == number
        marked = body & np.isin(discs[box], disc[own & (cell == number)])
        reaches.append(float(ndimage.distance_transform_edt(~marked)[body].max()))
    return max(reaches, default=np.inf)


class IgnoreUnannotatedd(MapTransform):
    """Dictionary form of :class:`IgnoreUnannotated`; items without evidence pass unchanged.

    The evidence is removed from the item: it has done its work, and neither a random warp nor collation needs to know
    that some items had it.

    Args:
        keys: the instance map, one key.
        markers_key, silver_key: of the evidence, each of which an item may lack.
        reach: see :class:`IgnoreUnannotated`.

    Raises:
        ValueError: more than one key; whatever the array form raises.
    """

    backend = IgnoreUnannotated.backend

    def __init__(
        self,
        keys: KeysCollection = "label",
        markers_key: str = "markers",
        silver_key: str = "silver",
        reach: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must be one key, that of the instance map, got {self.keys}")
        self.markers_key = markers_key
        self.silver_key = silver_key
        self.ignore_unannotated = IgnoreUnannotated(reach)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        markers, silver = d.pop(self.markers_key, None), d.pop(self.silver_key, None)
        if markers is None and silver is None:
            return d
        for key in self.key_iterator(d):
            d[key] = self.ignore_unannotated(d[key], markers, silver)
        return d
