"""Which labels train and which choose the checkpoint, the same ones in every round of annotation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from bundle.data.item import Item


def partition(items: Sequence[Item], share: float) -> tuple[list[Item], list[Item]]:
    """Training and validation, where an item's part depends on its own name and not on which others there are.

    A training in MONAI Label continues from the model of the one before. With a cut by position, as in the stock app,
    each new label would move the cut, and images that trained the model would choose its next checkpoint.

    Args:
        items: with "image" and, of a stack, "slice".
        share: of the names, 0 .. 1, that are kept for validation; of few items it may be more or less. One item at
            least is kept, and of two or more one at least trained on: only that one may change sides later.
    """
    by_place = sorted(items, key=_place)
    count = sum(_place(item) < share for item in items)
    validation = by_place[: min(max(count, 1), len(items) - 1)]
    return [item for item in items if item not in validation], validation


def _place(item: Item) -> float:
    """0 .. 1, even over names and always the same for one."""
    name = f"{Path(item['image']).name} {item.get('slice', '')}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
