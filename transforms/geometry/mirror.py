"""Mirrored surroundings of an image: the context a network of valid convolutions needs at the border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends

from bundle.geometry import mirror_indices
from transforms.geometry.sampling import take

Margin = int | Sequence[int] | Sequence[tuple[int, int]]


class MirrorPad(Transform):
    """Pad an image by mirroring it without repeating the edge (Ronneberger 2015, fig. 2), by any margin.

    As numpy.pad with mode "reflect": a margin beyond the image mirrors it again and again, and an axis of one
    pixel repeats it. ``ValidGeometry(depth).margin`` is the margin that a U-Net takes off again.

    Args:
        margin: px on every side; or one number an axis; or (before, after) an axis.

    Raises:
        ValueError: a negative margin; on call, another number of axes than the image has.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, margin: Margin) -> None:
        margins: tuple[Any, ...] = (margin,) if isinstance(margin, int) else tuple(margin)
        self.pairs = [(m, m) if isinstance(m, int) else (int(m[0]), int(m[1])) for m in margins]
        self.same_everywhere = isinstance(margin, int)
        if min(min(pair) for pair in self.pairs) < 0:
            raise ValueError(f"margin must be at least 0 px, got {margin}; CropToOutput makes images smaller")

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            img: CHW[D], any dtype.

        Returns:
            The padded image, of the same kind and dtype; the affine of a MetaTensor follows the new origin.
        """
        size = tuple(img.shape[1:])
        pairs = self.pairs * len(size) if self.same_everywhere else self.pairs
        if len(pairs) != len(size):
            raise ValueError(f"margin names {len(pairs)} axes, the image has {len(size)} of size {size} px")
        padded = img
        for axis, ((before, after), n) in enumerate(zip(pairs, size, strict=True)):
            padded = take(padded, np.asarray(mirror_indices(-before, n + after, n)), axis + 1)
        if isinstance(padded, MetaTensor):
            affine = padded.affine.clone()
            origin = torch.tensor([-before for before, _ in pairs], dtype=affine.dtype)
            affine[:-1, -1] += affine[:-1, : len(pairs)] @ origin
            padded.affine = affine
        return padded
