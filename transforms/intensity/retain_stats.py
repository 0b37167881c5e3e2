"""Changes of gray values that keep the mean and the standard deviation of each channel."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Compose, MapTransform
from monai.utils import convert_to_dst_type, convert_to_numpy

__all__ = ["RetainStats", "RetainStatsd"]

#: mean and standard deviation of each channel
_Stats = list[tuple[float, float]]


class RetainStats(Compose):
    """Apply transforms, then give each channel the mean and the standard deviation back that it had before.

    For images that are standardized as a whole: a curve, a blur or a gain then cannot shift the mean or the deviation
    of what a network sees at inference, and must not do so in training either. MONAI's ``RandAdjustContrast`` has
    the same as its option ``retain_stats``.

    Args:
        transforms: of an image, CHW[D]; they keep its number of channels.
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        super().__init__(transforms)

    def __call__(self, img: NdarrayOrTensor, **options: Any) -> NdarrayOrTensor:
        """
        Args:
            img: CHW[D], any numeric dtype.

        Returns:
            CHW[D] float32 of the same kind as ``img``. A channel of a single gray value keeps its mean.
        """
        before = _stats(img)
        return _with_stats(super().__call__(img, **options), before, img)


class RetainStatsd(Compose, MapTransform):
    """Dictionary form of :class:`RetainStats`: the transforms see the whole dictionary, ``keys`` keep their mean and
    standard deviation."""

    def __init__(
        self, keys: KeysCollection, transforms: Sequence[Callable[..., Any]], allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        Compose.__init__(self, transforms)

    def __call__(self, data: Mapping[Hashable, Any], **options: Any) -> dict[Hashable, Any]:
        before = {key: _stats(data[key]) for key in self.key_iterator(dict(data))}
        changed = dict(Compose.__call__(self, dict(data), **options))
        for key, stats in before.items():
            changed[key] = _with_stats(changed[key], stats, data[key])
        return changed


def _stats(img: NdarrayOrTensor) -> _Stats:
    image = convert_to_numpy(img)
    return [
        (float(channel.mean(dtype=np.float64)), float(channel.std(dtype=np.float64)))
        for channel in image.reshape(len(image), -1)
    ]


def _with_stats(img: NdarrayOrTensor, stats: _Stats, like: NdarrayOrTensor) -> NdarrayOrTensor:
    image = convert_to_numpy(img).astype(np.float32, order="C")
    for channel, (mean, deviation), (now, spread) in zip(image, stats, _stats(image), strict=True):
        scale = deviation / spread if spread else 1.0
        channel *= np.float32(scale)
        channel += np.float32(mean - now * scale)
    return convert_to_dst_type(image, like, dtype=np.float32)[0]
