"""Weight maps only where a crop keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms import CropToOutputd, InstancesToClassd, WeightMapd

__all__ = ["weigh_what_is_kept"]


def weigh_what_is_kept(transforms: Sequence[Any]) -> tuple[Any, ...]:
    """The same transforms, of which a :class:`WeightMapd` leaves out what :class:`CropToOutputd` cuts off at once.

    Only where nothing but :class:`InstancesToClassd` is between the two: what the whole chain makes keeps its bits.
    """
    made = list(transforms)
    for position, transform in enumerate(made):
        after = [each for each in made[position + 1 :] if not isinstance(each, InstancesToClassd)]
        if not isinstance(transform, WeightMapd) or not after or not isinstance(after[0], CropToOutputd):
            continue
        if transform.weight_key in after[0].keys:
            made[position] = transform.within(after[0].crop.inner)
    return tuple(made)
