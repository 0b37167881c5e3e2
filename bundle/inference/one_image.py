"""Memory for one image at a time: one that needs more than there is is refused, one that is written is let go."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.data.errors import ImageError
from bundle.data.formats import META_IMAGE, NIFTI, extension, spatial_shape
from bundle.data.stated_channels import stated_channels
from bundle.data.stores import advice_to_convert
from bundle.inference.tile_cost import free_memory

#: what a gray image and its results take at most at one time: fp32 pixels and probability, int32 cells and the gaps
#: between them, or a copy of one of these that is being made or written, or the pixels of the file once more while
#: cells are measured; the tiles of the network come in addition
BYTES_PER_PIXEL = 24
#: of each further channel: fp32 pixels, and those of the file once more, with a copy
BYTES_PER_CHANNEL = 12
#: of each class where there are more than two: an fp32 probability, and a copy of it that is written
_BYTES_PER_CLASS = 8
#: of images that need no more bytes there may be several at once: one that is read, one in the network, one that waits
#: and one that is written; they take half of the free memory at most
_SMALL, _AT_ONCE = 128 * 2**20, 4


class RequireMemoryd(MapTransform):
    """Check, before it is read, that an image and its results fit into the memory that is free.

    Args:
        keys: of the paths.
        classes: how many the network tells; of more than two the probability of each is kept.
        context_slices: neighbours on each side that a slice is shown with.

    Raises:
        ImageError: at a call, with the size of the image and one that would fit.
    """

    def __init__(self, keys: KeysCollection, classes: int = 2, context_slices: int = 0) -> None:
        super().__init__(keys)
        self.bytes_per_pixel = BYTES_PER_PIXEL + (_BYTES_PER_CLASS * classes if classes > 2 else 0)
        self.sections = 2 * context_slices + 1

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(dict(data)):
            try:
                size, bytes_per_pixel = self._needed(data[key])
            except ImageError:  # whoever reads it says what is wrong
                continue
            needed, free = bytes_per_pixel * math.prod(size), free_memory("cpu")
            if needed > free:
                side = int((free / bytes_per_pixel / math.prod(size[2:])) ** 0.5)
                volume = extension(data[key]) in (*NIFTI, *META_IMAGE)
                other = f", or convert it {advice_to_convert(data[key])}" if volume else ""
                raise ImageError(
                    data[key],
                    f"its {' x '.join(map(str, size))} px need about {needed / 2**30:.1f} GiB of memory, "
                    f"{free / 2**30:.1f} GiB are free: cut it into parts of at most {side} x {side} px{other}",
                )
        return dict(data)

    def alone(self, path: str) -> bool:
        """Whether an image needs so much memory that the one before must be written before it is read."""
        try:
            size, bytes_per_pixel = self._needed(path)
        except ImageError:
            return False
        return bytes_per_pixel * math.prod(size) > min(_SMALL, free_memory("cpu") / (2 * _AT_ONCE))

    def _needed(self, path: str) -> tuple[tuple[int, ...], int]:
        """Size, and bytes a pixel."""
        size, channels = spatial_shape(path), stated_channels(path).count
        return size, self.bytes_per_pixel + BYTES_PER_CHANNEL * (channels * self.sections - 1)


class ReleaseImage:
    """Let go of an image and its results when they are written, before the next one is read."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        engine.state.batch = engine.state.output = None
