"""A rectangle of an image that is larger than memory, read alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from monai.data import MetaTensor

from bundle.data.errors import ImageError
from bundle.data.stores.lazy_image import LazyImage
from bundle.data.stores.levels import open_lazily
from bundle.data.windows import Window


@lru_cache(maxsize=64)
def open_whole(file: str) -> LazyImage:
    """The largest level of the image.

    Raises:
        ImageError: for one that cannot be read part by part, or a stack.
    """
    image = open_lazily(file, level=0)
    if len(image.size) > 2:
        raise ImageError(file, f"it is a stack of {image.size[2]} slices; rectangles can be taken of planes")
    return image


def read_window(window: Window, dtype: np.dtype) -> MetaTensor:
    """The pixels, (C, x, y); nothing else of the image is read.

    Raises:
        ImageError: for a rectangle that reaches beyond the image.
    """
    image = open_whole(window.file)
    spans = (window.x, window.x + window.width), (window.y, window.y + window.height)
    if any(stop > n for (_, stop), n in zip(spans, image.size, strict=True)):
        raise ImageError(
            window.within(window.file), f"it reaches beyond the image of {' x '.join(map(str, image.size))} px"
        )
    pixels = torch.from_numpy(image.read(spans).astype(dtype))
    return MetaTensor(pixels, meta={"filename_or_obj": window.within(window.file)})
