"""Serial sections: which neighbouring slices of a stack a slice is shown with, as further channels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends

from bundle.data.errors import ImageError
from bundle.data.formats import slice_count
from bundle.data.item import Item
from bundle.data.readers import read_image

#: in a MetaTensor's ``meta``: the number of neighbouring slices on each side that are among its channels
CONTEXT = "context_slices"


def _require_context_slices(value: object) -> int:
    """Check a number of neighbouring slices on each side.

    Raises:
        ValueError: when it is not a whole number of at least 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(
            f"context_slices must be a whole number of at least 0 (slices before and after, 0 for none), got {value!r}"
        )
    return value


def neighbours(index: int, count: int, context_slices: int, allowed: Collection[int] | None = None) -> list[int]:
    """The slices that slice ``index`` is shown with: ``context_slices`` before it, itself, as many after it.

    In the place of one beyond the end of the stack, or not ``allowed``, stands its mirrored counterpart, as far away on
    the other side; where that is missing too, the slice itself.

    Args:
        index: of 0 .. count - 1.
        count: slices of the stack.
        context_slices: on each side.
        allowed: slices that may be shown; None: all.

    Examples:
        >>> neighbours(0, 9, 2)
        [2, 1, 0, 1, 2]
        >>> neighbours(4, 9, 1, allowed={4, 5})
        [5, 4, 5]
    """
    possible = range(count) if allowed is None else {other for other in allowed if 0 <= other < count}
    return [
        next((i for i in (index + offset, index - offset) if i in possible), index)
        for offset in range(-context_slices, context_slices + 1)
    ]


class FindContextd(Transform):
    """Say which neighbouring slices an item is shown with; its image is loaded with them afterwards.

    Args:
        context_slices: on each side; 0 leaves items as they are.
        stack: a file with all sections in order, where the items are only those with labels: each is found in it by its
            pixels. None: the neighbours are those of the item's own file.
        only: a datalist: slices that are not in it are not shown, so that a training sees nothing of a slice that is
            held out or left out; see :func:`neighbours` for what stands in its place. None: all slices are shown.

    Returns (on call):
        the item with "context": the file, and its slices in order, the item's own in the middle.

    Raises:
        ValueError: for ``context_slices`` below 0.
        ImageError: on call, for an item that is no slice of a stack, or is not in ``stack``.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self, context_slices: int, stack: str | os.PathLike[str] | None = None, only: Sequence[Item] | None = None
    ) -> None:
        self.context_slices = _require_context_slices(context_slices)
        self.stack = stack
        self.shown: dict[str, set[int]] | None = None
        if only is not None and context_slices:
            self.shown = {}
            for item in only:
                file, index = _place(item, stack)
                self.shown.setdefault(file, set()).add(index)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        if self.context_slices:
            file, index = _place(cast(Item, item), self.stack)
            allowed = None if self.shown is None else self.shown.get(file, set())
            item["context"] = file, neighbours(index, slice_count(file), self.context_slices, allowed)
        return item


def own_channels(image: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """The channels of the slice itself, without those of its neighbours; (C, ...) to (C, ...)."""
    around = meta.get(CONTEXT, 0)
    around = int(around[0] if isinstance(around, list | tuple) else around)
    channels = len(image) // (2 * around + 1)
    return image[around * channels : (around + 1) * channels]


def said_of_no_stack(context_slices: int) -> str:
    """What to say of an image without neighbours."""
    return (
        f"it is a single image, and the network was trained with {context_slices} neighbouring slices on each side: "
        "put the sections into one stack, in order"
    )


def _place(item: Item, stack: str | os.PathLike[str] | None) -> tuple[str, int]:
    """The file of an item's neighbours, and its own place there."""
    if stack is None:
        if "slice" not in item:
            raise ImageError(item["image"], "it is a single image, without neighbours: set context_slices to 0")
        return item["image"], item["slice"]
    own = _pixels(item["image"], item.get("slice", 0))
    found = [index for index, digest in enumerate(_all_pixels(str(stack))) if digest == own]
    if not found:
        where = f" slice {item['slice']}" if "slice" in item else ""
        raise ImageError(item["image"], f"its{where} pixels are no slice of context_stack {stack}")
    return str(stack), found[0]


@lru_cache(maxsize=4)
def _all_pixels(stack: str) -> list[str]:
    return [_pixels(stack, index) for index in range(slice_count(stack))]


def _pixels(file: str, index: int) -> str:
    array = np.asarray(read_image(file, np.dtype(np.float32), keep=True))
    plane = array[..., index] if array.ndim == 4 else array
    return hashlib.sha256(repr(plane.shape).encode() + np.ascontiguousarray(plane).tobytes()).hexdigest()


class StackContextd(MapTransform):
    """Show every slice of a stack with its neighbours: their channels stand before and behind its own.

    Args:
        keys: of the stacks.
        context_slices: on each side; 0 leaves images as they are.

    Shape:
        input: CHWD, D slices. output: (2 context_slices + 1) C HWD: the channels of the first neighbour, of the next,
        ..., those of the slice in the middle. See :func:`neighbours` for the ends.

    Raises:
        ValueError: for ``context_slices`` below 0.
        ImageError: on call, for an image that is no stack.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(self, keys: KeysCollection, context_slices: int, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.context_slices = _require_context_slices(context_slices)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out) if self.context_slices else ():
            out[key] = self._shown(out[key])
        return out

    def _shown(self, img: torch.Tensor) -> torch.Tensor:
        if img.ndim != 4:
            file = img.meta.get("filename_or_obj", "the image") if isinstance(img, MetaTensor) else "the image"
            raise ImageError(str(file), said_of_no_stack(self.context_slices))
        count = img.shape[-1]
        order = torch.tensor([neighbours(index, count, self.context_slices) for index in range(count)]).T
        shown = torch.cat([img[..., slices] for slices in order])
        if isinstance(shown, MetaTensor):
            shown.meta[CONTEXT] = self.context_slices
        return shown
