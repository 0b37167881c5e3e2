"""Crop a label or weight map to what the network predicts. Never resize the truth to the prediction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Crop, Cropd

from bundle.geometry import Geometry, ValidGeometry


class CropToOutput(Crop):
    """Cut off the margin that the valid convolutions of a U-Net consume: 572 -> 388 px at depth 4.

    A MONAI crop: it follows the affine, can be inverted and can be lazy, and gives a tensor.

    Args:
        depth: number of poolings of a U-Net with valid convolutions.
        lazy: see :class:`monai.transforms.Crop`.
        geometry: of another network, ``network.geometry``, instead of ``depth``. Where that is padded nothing is cut
            off, and only the size is checked.

    Raises:
        ValueError: a depth below 1; on call, a size the network does not take, with the nearest ones it does.
    """

    def __init__(self, depth: int = 4, lazy: bool = False, geometry: Geometry | None = None) -> None:
        super().__init__(lazy=lazy)
        self.geometry: Geometry = ValidGeometry(depth) if geometry is None else geometry

    def __call__(self, img: torch.Tensor, lazy: bool | None = None) -> torch.Tensor:  # type: ignore[override]
        """
        Args:
            img: CHW[D] of the network's input size.

        Returns:
            CHW[D] of the network's output size.
        """
        size = tuple(img.peek_pending_shape() if isinstance(img, MetaTensor) else img.shape[1:])
        return super().__call__(img, self.inner(size), lazy)

    def inner(self, size: Sequence[int]) -> tuple[slice, ...]:
        """What is kept of a spatial size in px: a slice an axis."""
        outputs, margins = self.geometry.output_sizes(size), self.geometry.margins(len(size))
        return tuple(slice(margin, margin + n) for margin, n in zip(margins, outputs, strict=True))


class CropToOutputd(Cropd):
    """Dictionary form of :class:`CropToOutput`."""

    def __init__(
        self,
        keys: KeysCollection,
        depth: int = 4,
        allow_missing_keys: bool = False,
        lazy: bool = False,
        geometry: Geometry | None = None,
    ) -> None:
        self.crop = CropToOutput(depth, lazy, geometry)
        super().__init__(keys, self.crop, allow_missing_keys, lazy)
