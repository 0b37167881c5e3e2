"""Several classes of objects: an instance map with the class of each instance, from maps and tables of classes.

The *table* of an instance map is a 1-D int64 array: its entry at an instance's number is the class, its first is 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from transforms.labels.instances import IGNORE, LabelToInstancesd, class_array, components, instance_array, of_file

#: of the table in an item
CLASS_OF = "class_of"


def class_components(classes: NdarrayOrTensor, connectivity: int = 1) -> tuple[NdarrayOrTensor, np.ndarray]:
    """Each connected component of one class but the first as an instance of that class.

    Args:
        classes: 1HW[D] whole numbers: 0 background, 1.. further classes, :data:`IGNORE`.
        connectivity: see :class:`transforms.LabelToInstances`.

    Returns:
        the instance map 1HW[D] int32 of the same kind as ``classes``, numbers in the order of the classes,
        and its table.
    """
    values = instance_array(classes, "label")[0]
    instances = np.where(values == IGNORE, np.int32(IGNORE), np.int32(0))
    table = [0]
    for number in np.unique(values[values > 0]).tolist():
        parts, count = components(values == number, connectivity)
        instances += np.where(parts > 0, parts + np.int32(len(table) - 1), 0)
        table += [number] * count
    return convert_to_dst_type(instances[None], classes, dtype=np.int32)[0], np.array(table, np.int64)


def with_class_map(
    instances: NdarrayOrTensor, classes: NdarrayOrTensor, names: Sequence[str] | None = None
) -> tuple[NdarrayOrTensor, np.ndarray]:
    """The table of an instance map from the class of every pixel.

    Pixels whose class is :data:`IGNORE` say nothing of their instance; an instance of which no pixel has a class, and
    such pixels of the background, become :data:`IGNORE`.

    Args:
        instances: 1HW[D] instance map.
        classes: 1HW[D] whole numbers: 0 background, 1.. further classes, :data:`IGNORE`.
        names: of the classes, for messages.

    Returns:
        the map with instances numbered 1..N, int32 of the same kind as ``instances``, and its table.

    Raises:
        ValueError: naming the instance, the classes and the file: for sizes that differ, an instance of two classes or
            of the background's, and a class where there is no instance.
    """
    cells, kinds = instance_array(instances)[0], instance_array(classes, "class map")[0]
    where = of_file(instances)
    if cells.shape != kinds.shape:
        raise ValueError(f"the class map{of_file(classes)} is {kinds.shape} px, the instance map{where} {cells.shape}")
    stray = kinds[(cells == 0) & (kinds > 0)]
    if stray.size:
        raise ValueError(
            f"the class map{of_file(classes)} has {stray.size} px of {_name(int(stray[0]), names)} where the instance "
            f"map{where} has background: give each object a number, and its px one class"
        )
    numbers, cells = _contiguous(cells)
    table = np.full(len(numbers) + 1, IGNORE, np.int64)
    known = (cells > 0) & (kinds != IGNORE)
    pairs, counts = np.unique(np.stack([cells[known], kinds[known]]), axis=1, return_counts=True)
    for cell, kind, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        if kind == 0:
            raise ValueError(
                f"instance {numbers[cell - 1]}{where} has {count} px of class {_name(0, names)} in the class "
                f"map{of_file(classes)}: an object has a class of its own"
            )
        if table[cell] != IGNORE:
            raise ValueError(
                f"instance {numbers[cell - 1]}{where} has two classes, {_name(int(table[cell]), names)} and "
                f"{_name(kind, names)} ({count} px), in the class map{of_file(classes)}: an instance has one class"
            )
        table[cell] = kind
    cells[(cells == 0) & (kinds == IGNORE)] = IGNORE
    return _finished(cells, table, instances)


def with_class_table(instances: NdarrayOrTensor, classes: Mapping[int, int]) -> tuple[NdarrayOrTensor, np.ndarray]:
    """The table of an instance map from the class of every instance; instances of :data:`IGNORE` become that.

    Args:
        instances: 1HW[D] instance map.
        classes: instance -> class.

    Returns:
        as :func:`with_class_map`.

    Raises:
        ValueError: naming an instance that has no class.
    """
    numbers, cells = _contiguous(instance_array(instances)[0])
    missing = [number for number in numbers if number not in classes]
    if missing:
        raise ValueError(
            f"{len(missing)} instances{of_file(instances)} have no class in their table, first {missing[0]}"
        )
    return _finished(cells, np.array([0, *(classes[number] for number in numbers)], np.int64), instances)


class LabelToClassedInstancesd(LabelToInstancesd):
    """:class:`transforms.LabelToInstancesd` for every kind of truth: where there are classes, with a table of them.

    Args:
        keys: the label, one key.
        kind: as for :class:`transforms.LabelToInstances`; or "classes": the label holds a class for each pixel, whose
            connected components become instances.
        ignore_value, connectivity, ignore_key: see there.
        class_map_key: of the class of every pixel beside an instance map, :func:`with_class_map`.
        class_table_key: of instance -> class beside an instance map, :func:`with_class_table`. An item may lack both;
            they are removed.
        class_of_key: where the table goes.
        class_names: for messages.

    Raises:
        ValueError: more than one key; whatever the functions raise.
    """

    def __init__(
        self,
        keys: KeysCollection,
        kind: str = "auto",
        ignore_value: float | None = None,
        connectivity: int = 1,
        ignore_key: str = "not_annotated",
        class_map_key: str = "class_map",
        class_table_key: str = "class_table",
        class_of_key: str = CLASS_OF,
        class_names: Sequence[str] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        self.of_pixels = kind == "classes"
        kind = "auto" if self.of_pixels else kind
        super().__init__(keys, kind, ignore_value, connectivity, ignore_key, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must be one key, that of the label, got {self.keys}")
        self.class_map_key, self.class_table_key, self.class_of_key = class_map_key, class_table_key, class_of_key
        self.class_names = class_names

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        kinds, table = d.pop(self.class_map_key, None), d.pop(self.class_table_key, None)
        key = self.keys[0]
        if key not in d:
            return super().__call__(d)
        if self.of_pixels:
            d.pop(self.ignore_key, None)  # of the file's values; here they are classes
            d[key], d[self.class_of_key] = class_components(d[key], self.to_instances.connectivity)
            return d
        d = super().__call__(d)
        if kinds is not None:
            d[key], d[self.class_of_key] = with_class_map(d[key], kinds, self.class_names)
        elif table is not None:
            d[key], d[self.class_of_key] = with_class_table(d[key], table)
        return d


class KeepClassesd(MapTransform):
    """The class of every pixel as it was annotated, for what is measured: :data:`IGNORE` where nobody did.

    Args:
        keys: the instance map, one key.
        output_key: where the class map goes, 1HW[D] int32; an item without a table gets none.
        class_of_key: of the table, which stays.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        output_key: str = "annotated_classes",
        class_of_key: str = CLASS_OF,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_key = output_key
        self.class_of_key = class_of_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.class_of_key in d:
            for key in self.key_iterator(d):
                instances = instance_array(d[key])
                kinds = np.where(instances == IGNORE, IGNORE, class_array(instances, d[self.class_of_key]))
                d[self.output_key] = convert_to_dst_type(kinds, d[key], dtype=np.int32)[0]
        return d


def _contiguous(cells: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Numbers of the instances, and the map with 1..N in their place."""
    present, where = np.unique(cells, return_inverse=True)
    renumbered = np.where(present > 0, np.cumsum(present > 0), present).astype(np.int32)
    return present[present > 0].tolist(), renumbered[where].reshape(cells.shape)


def _finished(cells: np.ndarray, table: np.ndarray, like: Any) -> tuple[NdarrayOrTensor, np.ndarray]:
    table[0] = 0
    cells[(cells > 0) & (table[np.maximum(cells, 0)] == IGNORE)] = IGNORE
    return convert_to_dst_type(cells[None], like, dtype=np.int32)[0], np.maximum(table, 0)


def _name(number: int, names: Sequence[str] | None) -> str:
    return str(number) if names is None else names[number]
