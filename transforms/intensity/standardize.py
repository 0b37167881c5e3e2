"""Grey values of every slice at zero mean and unit variance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_numpy, convert_to_tensor

from transforms.intensity.moments import Moments

#: in a MetaTensor's ``meta``: Moments of each channel of the whole image that it is a part of, and between which gray
#: values each is clipped before (None: none is)
WHOLE = "whole_gray"

#: quantiles at which ``robust`` clips
EDGES = (0.001, 0.999)


def standardized(image: torch.Tensor, moments: Sequence[Moments]) -> torch.Tensor:
    """Gray values less their mean, over their standard deviation; 0 where all are equal.

    Args:
        image: fp32; the last axis has an entry for each of ``moments``.
        moments: of the whole slices that these are pixels of.

    Returns:
        the same shape, fp32.
    """
    flat = image.new_tensor([one.low == one.high for one in moments], dtype=torch.bool)
    mean, std = (image.new_tensor([getattr(one, name) for one in moments]) for name in ("mean", "deviation"))
    return torch.where(flat, torch.zeros_like(image), (image - mean) / torch.where(std == 0, 1, std))


def standardized_part(
    image: torch.Tensor, moments: Sequence[Moments], edges: Sequence[tuple[float, float] | None] | None
) -> torch.Tensor:
    """A part of a slice, shape (C, ...), as the whole slice would be.

    Args:
        image: fp32.
        moments: of each channel of the whole slice.
        edges: values between which each channel is clipped before; None, also for a channel: it is not.
    """
    clips = edges or [None] * len(moments)
    clipped = [each.clamp(*clip) if clip else each for each, clip in zip(image.split(1), clips, strict=True)]
    return standardized(torch.cat(clipped).movedim(0, -1), moments).movedim(-1, 0)


class Standardize(Transform):
    """Zero mean and unit variance of every slice of every channel; a constant one becomes 0.

    A stack is standardized slice by slice, so that a slice looks the same to the network alone and in its stack; and a
    channel as if it were alone, since stains and lamps differ. Mean and deviation are exact (:class:`Moments`), so that
    an image that is read part by part becomes the same to the bit.

    Args:
        spatial_dims: axes of a slice; what follows them counts the slices of a stack.
        robust: clip each slice of a channel at its 0.1 % and 99.9 % quantiles before, so that a hot pixel does not make
            all others nearly one value. Where these are equal, nothing is clipped.

    A part of a large image, whose ``meta`` has the gray values of the whole one, is standardised by these.

    Shape:
        input: CHW[...] of any numeric dtype. output: the same shape, fp32.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, spatial_dims: int = 2, robust: bool = False) -> None:
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}")
        if not isinstance(robust, bool):  # "false" of a command line would count as true
            raise ValueError(f"robust must be True or False, got {robust!r}")
        self.spatial_dims = spatial_dims
        self.robust = robust

    def __call__(self, img: Any) -> torch.Tensor:
        image = convert_to_tensor(img, dtype=torch.float32, track_meta=isinstance(img, MetaTensor))
        if image.dim() < self.spatial_dims + 1:
            raise ValueError(
                f"img must have a channel and at least {self.spatial_dims} spatial axes, got shape {tuple(image.shape)}"
            )
        if isinstance(image, MetaTensor) and WHOLE in image.meta:
            return standardized_part(image, *image.meta.pop(WHOLE))
        channels = [self._channel(channel) for channel in image.split(1)]
        return channels[0] if len(channels) == 1 else torch.cat(channels)

    def _channel(self, image: torch.Tensor) -> torch.Tensor:
        axes = tuple(range(self.spatial_dims + 1))
        if self.robust:
            low, high = np.quantile(convert_to_numpy(image), list(EDGES), axis=axes, keepdims=True)
            low, high = (np.where(low < high, edge, far) for edge, far in ((low, -np.inf), (high, np.inf)))
            image = image.clamp(
                *(torch.as_tensor(edge, dtype=image.dtype, device=image.device) for edge in (low, high))
            )
        slices = image.flatten(self.spatial_dims + 1) if image.dim() > len(axes) else image.unsqueeze(-1)
        pixels = convert_to_numpy(slices)
        moments = [Moments.of(pixels[..., index]) for index in range(pixels.shape[-1])]
        return standardized(slices, moments).reshape(image.shape)


class Standardized(MapTransform):
    """Dictionary form of :class:`Standardize`."""

    backend = Standardize.backend

    def __init__(
        self, keys: KeysCollection, spatial_dims: int = 2, robust: bool = False, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.standardize = Standardize(spatial_dims, robust)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.standardize(out[key])
        return out
