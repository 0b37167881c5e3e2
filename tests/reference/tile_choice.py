"""The choice of a tile word for word: every combination of tile sizes, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from bundle.geometry import Geometry
from bundle.inference.tile_cost import TileCost

#: activations -> what a convolution library takes beside them, as the inferer has it
HEADROOM = 1.3


def literal_choice(geometry: Geometry, cost: TileCost, image: Sequence[int], bound: float) -> tuple[int, ...]:
    """Of the smallest tiles for their number along each axis, the one of the fewest FLOPs that fits ``bound`` bytes."""
    along = [axis.tile_sizes(n) for axis, n in zip(geometry.axes(len(image)), image, strict=True)]
    plans = [geometry.plan(image, tile) for tile in product(*along)]
    plans.sort(key=lambda plan: (len(plan) * cost.flops(plan.tile_size), len(plan)))
    return next(
        plan.tile_size
        for plan in plans
        if cost.estimated_memory(plan.tile_size) <= bound and HEADROOM * cost.memory(plan.tile_size) <= bound
    )
