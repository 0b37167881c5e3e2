"""One entry of a MONAI datalist, as this bundle makes and reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Required, TypedDict, get_args

#: the keys that hold paths
File = Literal["image", "label", "markers", "silver", "class_map", "class_table"]
FILES: tuple[File, ...] = get_args(File)


class Item(TypedDict, total=False):
    """An image and what is known about it. MONAI Label feeds items of its own, of "image" and "label" only."""

    image: Required[str]  # path
    label: str  # path; absent where nobody annotated the image
    name: str  # unique in its datalist, and short
    slice: int  # page of a stack, from 0, in image and label; absent where a file holds one image
    slices: tuple[int, int]  # of a volume of which a range is meant: its first slice, and the one behind its last
    markers: str  # path of discs inside the cells that the label may leave out
    silver: str  # path of outlines that programs agree on
    class_map: str  # path of the class of every pixel, beside a label of instances
    class_table: str  # path of the class of every instance of the label
    segments: dict[str, int]  # name of a class -> its value in the label, where that has one of its own
    relative_time: float  # place of a frame in its film, 0 to below 1
    not_annotated: int  # value of the label where nobody annotated, if the file has one of its own


#: of a file: a slice, a range of slices (the first, the one behind the last), or all of it
Part = int | tuple[int, int] | None


def part_of(item: Item | Mapping[Any, Any]) -> Part:
    """What of its files an item is."""
    part: Part = item["slice"] if item.get("slice") is not None else item.get("slices")
    return part
