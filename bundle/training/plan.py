"""What follows from the images for a training: sizes that go by the size of the objects, each with its reason.

``checking`` prints the plan; a config takes a value from it by ``$@plan.tile_size``. Its rules are of thumb: what is
measured of them is on the pages of results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bundle.data.doctor import Sheet, measure, quartiles
from bundle.data.item import Item
from bundle.geometry import ValidGeometry
from bundle.training.cell_search import smallest_cell

#: at most so many images are read for the plan alone; they are spread over all
_SAMPLE = 40
#: depths that are considered, the usual one first
_DEPTHS = (4, 5)
#: of the tile: px that come out where objects are small (380 go in at depth 4); large objects side by side in them
_USUAL_OUTPUT, _OBJECTS_ACROSS = 196, 2
#: of eq. (2): the paper's reach, the least one, and the part of an object's diameter that it is
_PAPER_SIGMA, _LEAST_SIGMA, _SIGMA_PART = 5.0, 1.5, 1 / 6
#: px of the ridge between touching objects, and the diameter below which it is half of that
_RIDGE, _NARROW = 2, 12


@dataclass(frozen=True)
class Advice:
    """One value: the option that sets it, the value, and why."""

    option: str
    value: Any
    why: str


@dataclass(frozen=True)
class Plan:
    """Values for a training on images of two axes.

    Attributes:
        tile_size: px, square, that a network of ``depth`` takes.
        depth: poolings.
        min_size: px of the smallest object that is one.
        border_sigma: px, reach of the border weight.
        ridge: px of background cut between touching objects.
        advice: all of these with their reasons.
    """

    tile_size: int
    depth: int
    min_size: int
    border_sigma: float
    ridge: int
    advice: tuple[Advice, ...]


def plan_of(sheets: Sequence[Sheet]) -> Plan:
    """The plan for what was measured.

    Args:
        sheets: of images, at least one with an object.

    Raises:
        ValueError: where there is no object.
    """
    size = quartiles(sheets)
    if size is None:
        raise ValueError("none of the labels marks an object: there is nothing to plan for")
    _, middle, large = size
    side = min(min(sheet.size[:2]) for sheet in sheets)
    advice = (*_depth_and_tile(large, side), _min_size(sheets), _border(middle), _ridge(middle))
    depth, tile, least, sigma, ridge = (each.value for each in advice)
    return Plan(tile, depth, least, sigma, ridge, advice)


def plan_of_data(items: Sequence[Item], read: Callable[[Item], Mapping[str, Any]]) -> Plan:
    """The plan for a datalist, of which at most 40 images are read.

    Args:
        items: that train; what is held out or validates has no say.
        read: see :func:`bundle.data.doctor.measure`.

    Raises:
        ValueError: where there is no object.
        ImageError: as ``read``.
    """
    items = [item for item in items if "label" in item]  # the others are told by ``checking``, which alone has them
    places = np.unique(np.linspace(0, len(items) - 1, min(len(items), _SAMPLE)).round().astype(int))
    return plan_of([measure(items[place], read) for place in places])


def _depth_and_tile(large: float, side: int) -> tuple[Advice, Advice]:
    fits = [depth for depth in _DEPTHS if 2 * ValidGeometry(depth).margin >= large]
    depth = fits[0] if fits else _DEPTHS[-1]
    axis = ValidGeometry(depth)
    window = 2 * axis.margin
    seen = f"a pixel of the result sees {window} px across, and most objects are narrower than {large:.0f} px"
    if not fits:
        seen = (
            f"a pixel of the result sees {window} px across, but objects are {large:.0f} px wide: scale the images down"
        )
    wanted = max(_USUAL_OUTPUT, round(_OBJECTS_ACROSS * large))
    tile = axis.input_size(min(side, wanted))
    why = f"{axis.output_size(tile)} px come out, "
    if side <= wanted:
        why += f"the whole of an image of {side} px; more would be computed for nothing"
    elif wanted > _USUAL_OUTPUT:
        why += f"in which objects {large:.0f} px wide have room beside each other"
    else:
        why += "enough for many objects of this size"
    return Advice("depth", depth, seen), Advice("tile_size", tile, why)


def _min_size(sheets: Sequence[Sheet]) -> Advice:
    unit = "px in area" if len(sheets[0].size) == 2 else "voxels"
    areas = np.concatenate([sheet.areas[sheet.whole] if sheet.whole.any() else sheet.areas for sheet in sheets])
    middle = float(np.median(areas))
    why = (
        f"a tenth of the median object, {middle:.0f} {unit}; smaller ones are dirt. Without this option a training "
        "tries several sizes, and takes what fits best on the images that it chooses on"
    )
    return Advice("cells#min_size", smallest_cell(middle), why)


def _border(middle: float) -> Advice:
    sigma = float(np.clip(round(2 * _SIGMA_PART * middle) / 2, _LEAST_SIGMA, _PAPER_SIGMA))
    if sigma == _PAPER_SIGMA:
        return Advice("weight_map#sigma", sigma, "as in the paper: the weight of a gap ends well within the objects")
    why = f"less than the paper's 5 px, which reach across objects {middle:.0f} px wide"
    return Advice("weight_map#sigma", sigma, why)


def _ridge(middle: float) -> Advice:
    if middle < _NARROW:
        why = f"the gap cut between touching objects: 2 px would take much of objects {middle:.0f} px wide"
        return Advice("separate_touching#width", _RIDGE // 2, why)
    return Advice("separate_touching#width", _RIDGE, "the gap cut between touching objects, so that they stay apart")
