"""Label maps: what their values mean, and how any kind of label becomes a map of instances.

0 is background (or membrane), 1..N are instances, and :data:`IGNORE` marks pixels that nobody annotated.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy
from scipy import ndimage

#: value of pixels that nobody annotated: their weight is 0, they are neither cell nor background
IGNORE = -1

KINDS = ("auto", "binary", "instances")


def _whole_numbers(label: Any, name: str) -> np.ndarray:
    """The label as a numpy array 1HW[D] of whole numbers, whatever its dtype."""
    array: np.ndarray = convert_to_numpy(label)
    if array.ndim < 2 or array.shape[0] != 1:
        raise ValueError(f"{name} must have one channel, (1, H, W) or (1, H, W, D), got shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
    if array.dtype.kind == "f":
        broken = array[array != np.rint(array)]
        if broken.size:
            raise ValueError(
                f"{name} must hold whole numbers, got {_some(broken)}: was it interpolated linearly, or scaled "
                "to 0..1? Deform labels with mode 'nearest' and do not scale their values"
            )
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def _some(values: np.ndarray, count: int = 5) -> str:
    """The first few distinct values, for an error message."""
    distinct = np.unique(values)
    shown = ", ".join(f"{value:g}" for value in distinct[:count])
    return shown if len(distinct) <= count else f"{shown}, ... ({len(distinct)} values)"


def of_file(label: Any) -> str:
    """Which file a label is of, for a message; nothing where the label does not know it."""
    file = label.meta.get("filename_or_obj") if isinstance(label, MetaTensor) else None
    return f" of {file}" if file else ""


def components(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    """The connected components of a mask HW[D], int32 1..N, and how many there are."""
    structure = ndimage.generate_binary_structure(mask.ndim, min(connectivity, mask.ndim))
    parts, count = ndimage.label(mask, structure=structure, output=np.int32)
    return parts, int(count)


def instance_array(instances: NdarrayOrTensor, name: str = "instances") -> np.ndarray:
    """An instance map as an int32 numpy array 1HW[D], checked.

    Args:
        instances: 1HW[D], any numeric dtype: 0 background, positive numbers instances, :data:`IGNORE`.
        name: what to call it in an error message.

    Raises:
        ValueError: more than one channel, values that are not whole numbers, below :data:`IGNORE` or beyond
            int32.
        TypeError: a dtype that is not numeric.
    """
    array = _whole_numbers(instances, name)
    if array.size and (array.min() < IGNORE or array.max() >= 2**31):  # 2^31 - 1 is no number of float32
        wrong = array[(array < IGNORE) | (array >= 2**31)]
        raise ValueError(
            f"{name} holds unknown label values {_some(wrong)}: allowed are 0 (background), positive int32 "
            f"numbers (instances) and {IGNORE} (not annotated)"
        )
    return array.astype(np.int32, copy=False)


class LabelToInstances(Transform):
    """Turn a label of any kind into an instance map: 0 background, positive instances, :data:`IGNORE`.

    Args:
        kind: what the label's values are. ``"binary"``: one non-zero value marks all cells (1 or 255), its
            connected components become instances 1..N. ``"instances"``: every positive value is an instance
            already and keeps its number. ``"auto"``: binary when there is exactly one distinct non-zero value.
        ignore_value: value of pixels that nobody annotated; they become :data:`IGNORE`, as pixels that hold
            :data:`IGNORE` always do. None: only those.
        connectivity: of the components, in the sense of scipy: 1 joins pixels that share a face (cells white,
            a one-pixel diagonal membrane still parts them), 2 also diagonal ones.

    Raises:
        ValueError: unknown ``kind``, ``connectivity`` below 1; on call, a label with several channels, values
            that are not whole numbers, negative ones, or several non-zero ones when ``kind`` is ``"binary"``.

    Warns:
        UserWarning: the label has no cell, or no background; names the file when the label knows it.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, kind: str = "auto", ignore_value: float | None = None, connectivity: int = 1) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if connectivity < 1:
            raise ValueError(f"connectivity must be at least 1 (shared faces), got {connectivity}")
        self.kind = kind
        self.ignore_value = ignore_value
        self.connectivity = connectivity

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            label: 1HW[D], any numeric dtype.

        Returns:
            1HW[D] int32 of the same kind (numpy, torch, MetaTensor) as ``label``.
        """
        values = _whole_numbers(label, "label")
        ignored = (values == IGNORE) if values.dtype.kind in "if" else np.zeros(values.shape, dtype=bool)
        if self.ignore_value is not None:
            ignored |= values == self.ignore_value
        values = instance_array(np.where(ignored, 0, values), "label")
        foreground = values > 0

        self._warn_if_one_class(label, foreground, ignored)
        if self._is_binary(values[foreground]):
            values = components(foreground[0], self.connectivity)[0][None]
        out = np.where(ignored, np.int32(IGNORE), values)
        return convert_to_dst_type(out, label, dtype=np.int32)[0]

    def _is_binary(self, foreground_values: np.ndarray) -> bool:
        if self.kind == "instances":
            return False
        one_value = foreground_values.size == 0 or bool((foreground_values == foreground_values[0]).all())
        if self.kind == "binary" and not one_value:
            raise ValueError(
                f"kind='binary' allows one non-zero value beside the ignored one, the label holds "
                f"{_some(foreground_values)}; set ignore_value, or kind='instances' if these are instances"
            )
        return one_value

    @staticmethod
    def _warn_if_one_class(label: Any, foreground: np.ndarray, ignored: np.ndarray) -> None:
        if not foreground.any():
            told = "no cell: all its pixels are 0 or not annotated"
        elif (foreground | ignored).all():
            told = "no background: is it inverted? cells must be non-zero, background 0"
        else:
            return
        warnings.warn(f"the label{of_file(label)} has {told}", stacklevel=3)


class LabelToInstancesd(MapTransform):
    """Dictionary form of :class:`LabelToInstances`.

    An item may name the value of its own label's pixels that nobody annotated; it is removed, for collation would miss
    it in the items that do not.

    Args:
        keys, kind, connectivity: see :class:`LabelToInstances`.
        ignore_value: for items without a value of their own.
        ignore_key: of that value in an item.
    """

    backend = LabelToInstances.backend

    def __init__(
        self,
        keys: KeysCollection,
        kind: str = "auto",
        ignore_value: float | None = None,
        connectivity: int = 1,
        ignore_key: str = "not_annotated",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_instances = LabelToInstances(kind, ignore_value, connectivity)
        self.ignore_key = ignore_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        own = d.pop(self.ignore_key, None)
        shared = self.to_instances
        convert = shared if own is None else LabelToInstances(shared.kind, own, shared.connectivity)
        for key in self.key_iterator(d):
            d[key] = convert(d[key])
        return d


class InstancesToClass(Transform):
    """Class map of an instance map: 0 on background and where nobody annotated, 1 or the instance's class on cells.

    The result is int64, what cross entropy takes as class indices; ignored pixels need a class all the same,
    and their weight of 0 (:class:`transforms.labels.weight_map.WeightMap`) takes them out of the loss.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __call__(self, instances: NdarrayOrTensor, class_of: np.ndarray | None = None) -> NdarrayOrTensor:
        """
        Args:
            instances: 1HW[D] instance map.
            class_of: the class of each instance at its number, see :mod:`transforms.labels.classes`; None: all are 1.

        Returns:
            1HW[D] int64 of the same kind as ``instances``.

        Raises:
            ValueError: when ``instances`` is not an instance map, see :func:`instance_array`, or has a number beyond
                the end of ``class_of``.
        """
        classes = class_array(instance_array(instances), class_of)
        return convert_to_dst_type(classes, instances, dtype=np.int64)[0]


def class_array(instances: np.ndarray, class_of: np.ndarray | None = None) -> np.ndarray:
    """The class of every pixel of an instance map, int64; see :class:`InstancesToClass`."""
    if class_of is None:
        return (instances > 0).astype(np.int64)
    if instances.max(initial=0) >= len(class_of):
        raise ValueError(f"class_of has the classes of instances up to {len(class_of) - 1}, got {instances.max()}")
    classes: np.ndarray = np.asarray(class_of, np.int64)[np.maximum(instances, 0)]
    return classes


class InstancesToClassd(MapTransform):
    """Dictionary form of :class:`InstancesToClass`; the item's table of classes has done its work and is removed.

    Args:
        keys: instance maps.
        class_of_key: of the table, which an item may lack.
    """

    backend = InstancesToClass.backend

    def __init__(self, keys: KeysCollection, class_of_key: str = "class_of", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.class_of_key = class_of_key
        self.to_class = InstancesToClass()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        class_of = d.pop(self.class_of_key, None)
        for key in self.key_iterator(d):
            d[key] = self.to_class(d[key], class_of)
        return d
