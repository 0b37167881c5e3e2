"""Image and truth of an item, where the truth may tell classes: of its pixels, or of its instances."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor

from bundle.data.channels import are_equal
from bundle.data.class_values import COLOUR
from bundle.data.classes import CLASS_DIR, Classes
from bundle.data.errors import ImageError, one_line
from bundle.data.item import part_of
from bundle.data.label_colours import packed
from bundle.data.load_slice import LoadSlice
from bundle.data.loading import LoadSliced
from bundle.data.regions import is_region_file, region_kinds
from transforms.labels.classes import class_components

_COLUMNS = ("instance", "class")


class LoadValues(LoadSlice):
    """Read the values of a label as they stand in its file; colours as :mod:`bundle.data.class_values` has them.

    Args:
        spatial_dims, roi: see :class:`bundle.data.load_slice.LoadSlice`.
    """

    def __init__(self, spatial_dims: int | None = 2, roi: str | Sequence[int] | None = None) -> None:
        super().__init__(label=True, spatial_dims=spatial_dims, roi=roi)

    def _channels(self, path: str, array: torch.Tensor) -> torch.Tensor:
        opaque = array[:3] if array.shape[0] == 4 else array
        if opaque.shape[0] != 3 or are_equal(opaque):
            return super()._channels(path, array)
        return COLOUR + packed(opaque)


class LoadTruthd(LoadSliced):
    """:class:`bundle.data.loading.LoadSliced` for every kind of truth.

    With classes of pixels, "label" becomes their map. With instances and classes, "class_map" (a path) becomes a map as
    well, or "class_table" (a path) a mapping instance -> class; the other kinds of truth leave both out. "segments" of
    an item, name -> value, replace the table of values for its label (:func:`segment_values`), in which each connected
    component of one value is an instance.

    Args:
        keys: of the paths, "image" and "label".
        classes: of the data set; None: one kind of object.
        options: see there.

    Raises:
        ValueError: for ``label_colours`` with classes of pixels.
        ImageError: as there; for a label without classes where it should have some, values that no class has, and a
            class map of another size than its label.
    """

    def __init__(self, *keys: Any, classes: Classes | None = None, **options: Any) -> None:
        super().__init__(*keys, **options)
        self.classes = classes or Classes()
        self.load_values = LoadValues(self.load_label.spatial_dims, self.load_label.roi)
        if self.classes.of_pixels:
            if self.load_label.label_colours is not None:
                raise ValueError("label_colours is for cells without classes; with class_names, name each colour there")
            self.load_label = self.load_values

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        map_file, table_file = item.pop("class_map", None), item.pop("class_table", None)
        segments = item.pop("segments", None)
        loaded = super().__call__(item)
        if self.classes.binary or "label" not in item:
            return loaded
        file, index, ignored = item["label"], part_of(item), item.get("not_annotated")
        try:
            classes = self.classes if segments is None else segment_values(self.classes, segments)
        except ValueError as error:
            raise ImageError(file, str(error)) from error
        if self.classes.of_pixels and is_region_file(file):
            loaded["label"] = _of_regions(loaded["label"], _region_table(file, classes))
        elif self.classes.of_pixels:
            loaded["label"] = _indices(classes, loaded["label"], file, ignored)
        elif segments is not None:
            loaded["class_map"] = _indices(classes, loaded["label"], file, ignored)
            loaded["label"] = class_components(loaded["label"])[0]
            loaded.pop("not_annotated", None)  # a value of the file, no number of an instance
        elif table_file is not None:
            loaded["class_table"] = read_class_table(table_file, classes)
        elif map_file is not None:
            loaded["class_map"] = _indices(classes, self.load_values(map_file, index), map_file, ignored)
            size, wanted = (tuple(loaded[key].shape[1:]) for key in ("class_map", "label"))
            if size != wanted:
                raise ImageError(map_file, f"its size (x, y) is {size} px, that of its label {file} {wanted}")
        elif is_region_file(file):
            loaded["class_table"] = _region_table(file, classes)
        else:
            raise ImageError(file, f"it has no class map and no table of the same name in the folder {CLASS_DIR}/")
        return loaded


def read_class_table(path: str | os.PathLike[str], classes: Classes) -> dict[int, int]:
    """Instance -> class, from a CSV with the columns "instance" and "class", the latter by name or number.

    Raises:
        ImageError: for a file that cannot be read, other columns, an instance that is no number or stands twice with
            different classes, a class that there is not, or the background's.
    """
    found: dict[int, int] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream, skipinitialspace=True)
            if not set(_COLUMNS) <= set(rows.fieldnames or ()):
                raise ImageError(path, f"its columns must be {' and '.join(_COLUMNS)}, got {rows.fieldnames}")
            for line, row in enumerate(rows, 2):
                told = f"line {line}: "
                instance, name = (str(row[column]).strip() for column in _COLUMNS)
                if not instance.isdecimal() or not int(instance):
                    raise ImageError(path, f"{told}an instance is a number from 1, got {instance!r}")
                number = _class(classes, name, path, told)
                if found.setdefault(int(instance), number) != number:
                    raise ImageError(path, f"{told}instance {instance} has two classes, an instance has one class")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImageError(path, f"it cannot be read ({one_line(error)})") from error
    return found


def _class(classes: Classes, name: str, path: str | os.PathLike[str], told: str) -> int:
    try:
        number = classes.of_value(int(name)) if name.removeprefix("-").isdecimal() else classes.number(name)
    except ValueError as error:
        raise ImageError(path, f"{told}{error}") from error
    if number == 0:
        raise ImageError(path, f"{told}an instance cannot be of class {classes.names[0]!r}, the background's")
    return number


def _region_table(path: str, classes: Classes) -> dict[int, int]:
    """Instance -> class, by the classes that a file of regions names."""
    found = {}
    for number, kind in region_kinds(path).items():
        if kind is None:
            raise ImageError(path, f"region {number} has no class: it must be one of {', '.join(classes.names[1:])}")
        found[number] = _class(classes, kind, path, f"region {number}: ")
    return found


def _of_regions(label: MetaTensor, table: Mapping[int, int]) -> MetaTensor:
    numbers, where = torch.unique(label.as_tensor(), return_inverse=True)
    kinds = torch.tensor([table.get(number, number) for number in numbers.tolist()], dtype=torch.int32)  # 0, -1 stay
    return MetaTensor(kinds[where], meta=dict(label.meta))


def segment_values(classes: Classes, segments: Mapping[str, int]) -> Classes:
    """The classes with the values that segments have in one label.

    Args:
        classes: of the data.
        segments: name -> value. "nucleus 1", "nucleus 2" and so on are objects of the class "nucleus".

    Raises:
        ValueError: for a name that is no class.
    """
    table = {0: 0}
    known = {name.lower() for name in classes.names}
    for name, value in segments.items():
        plain = name.strip()
        whole = plain if plain.lower() in known else re.sub(r"[ _-]*\d+$", "", plain)
        table[value] = classes.number(whole or plain)
    return Classes(classes.names, classes.kind, table)


def _indices(classes: Classes, values: MetaTensor, path: str, ignored: int | None) -> MetaTensor:
    return MetaTensor(torch.from_numpy(classes.indices(values.numpy(), path, ignored)), meta=dict(values.meta))
