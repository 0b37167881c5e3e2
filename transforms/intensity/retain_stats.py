"""Changes of gray values that keep the mean and the standard deviation of each channel."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Compose, MapTransform, Randomizable, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy
from numpy.typing import NDArray


class RetainStats(Randomizable, Transform):
    """Apply transforms, then give each channel the mean and the standard deviation back that it had before.

    For images that are standardized as a whole: a curve, a blur or a gain then cannot shift the mean or the deviation
    of what a network sees at inference, and must not do so in training either. MONAI's ``RandAdjustContrast`` has
    the same as its option ``retain_stats``.

    Args:
        transforms: of an image, CHW[D]; they keep its number of channels.
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = Compose(transforms)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RetainStats:
        super().set_random_state(seed, state)
        self.transforms.set_random_state(seed, state)
        return self

    def __call__(self, data: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            data: CHW[D], any numeric dtype.

        Returns:
            CHW[D] float32 of the same kind. A channel of a single gray value keeps its mean.
        """
        before = _stats(data)
        return _with_stats(self.transforms(data), before, like=data)


class RetainStatsd(Randomizable, MapTransform):
    """Dictionary form of :class:`RetainStats`: the transforms see the whole dictionary, ``keys`` keep their mean and
    standard deviation."""

    def __init__(
        self, keys: KeysCollection, transforms: Sequence[Callable[..., Any]], allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transforms = Compose(transforms)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RetainStatsd:
        super().set_random_state(seed, state)
        self.transforms.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        before = dict(data)
        stats = {key: _stats(before[key]) for key in self.key_iterator(before)}
        changed = dict(self.transforms(before))
        for key, own in stats.items():
            changed[key] = _with_stats(changed[key], own, like=before[key])
        return changed


def _stats(img: NdarrayOrTensor) -> list[tuple[float, float]]:
    """Mean and standard deviation of each channel."""
    return [_of_channel(channel) for channel in convert_to_numpy(img)]


def _of_channel(channel: NDArray[Any]) -> tuple[float, float]:
    return float(channel.mean(dtype=np.float64)), float(channel.std(dtype=np.float64))


def _with_stats(
    changed: NdarrayOrTensor, stats: Sequence[tuple[float, float]], like: NdarrayOrTensor
) -> NdarrayOrTensor:
    image = convert_to_numpy(changed).astype(np.float32, order="C")
    for channel, (mean, deviation) in zip(image, stats, strict=True):
        now, spread = _of_channel(channel)
        scale = deviation / spread if spread else 1.0
        channel *= np.float32(scale)
        channel += np.float32(mean - now * scale)
    return convert_to_dst_type(image, like, dtype=np.float32)[0]
