"""Random gray value variation: a monotone curve over the image's own range (Ronneberger 2015, section 3.1)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy
from scipy.interpolate import PchipInterpolator

#: entries of the look-up table; between them it is read linearly, off the smooth curve by less than 1e-6
TABLE_SIZE = 1024


def _range(value: Sequence[float], name: str) -> tuple[float, float]:
    if len(value) != 2 or not value[0] <= value[1]:
        raise ValueError(f"{name} must be (low, high) with low <= high, got {tuple(value)}")
    return float(value[0]), float(value[1])


class RandGrayCurve(RandomizableTransform):
    """Map the gray values of each channel by a random, strictly rising, smooth curve of its own.

    The paper asks for robustness to "gray value variations" without saying how; the recipe is the one of the
    authors' later tools: on the range of a channel brought to 0..1 the curve starts and ends at random values,
    its slope between ``knots`` evenly spaced knots varies at random, and it is smoothed (here by monotone cubic
    interpolation, PCHIP). The result is brought back to the channel's own range, beyond which it reaches by the end
    values only. Stains vary by themselves, so channels share neither range nor curve.

    Args:
        prob: probability of changing the image, all of its channels or none.
        knots: knots of the curve including its ends, at least 2.
        end_low: range of the curve's value at the channel's minimum, in units of its range (0 keeps it).
        end_high: range of the curve's value at the channel's maximum (1 keeps it).
        slope: range of the slopes between knots, before they are scaled to meet the end value; above 0.

    Raises:
        ValueError: an argument out of its range, or ends that could make the curve fall.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        prob: float = 1.0,
        knots: int = 5,
        end_low: Sequence[float] = (-0.05, 0.05),
        end_high: Sequence[float] = (0.95, 1.05),
        slope: Sequence[float] = (0.8, 1.2),
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be within 0 .. 1, got {prob}")
        if knots < 2:
            raise ValueError(f"knots must be at least 2 (the curve's ends), got {knots}")
        super().__init__(prob)
        self.knots = knots
        self.end_low = _range(end_low, "end_low")
        self.end_high = _range(end_high, "end_high")
        self.slope = _range(slope, "slope")
        if self.end_low[1] >= self.end_high[0]:
            raise ValueError(f"end_low {self.end_low} must stay below end_high {self.end_high}")
        if self.slope[0] <= 0:
            raise ValueError(f"slope must stay above 0 for the curve to rise, got {self.slope}")
        self.curves = np.linspace(0, 1, TABLE_SIZE)[None]

    def randomize(self, data: int = 1) -> None:
        """Draw a curve for each of ``data`` channels into ``curves``: its values at evenly spaced points of 0..1."""
        super().randomize(None)
        if self._do_transform:
            self.curves = np.stack([self._draw() for _ in range(data)])

    def _draw(self) -> np.ndarray:
        low, high = self.R.uniform(*self.end_low), self.R.uniform(*self.end_high)
        rise = np.cumsum(self.R.uniform(*self.slope, size=self.knots - 1))
        values = low + (high - low) * np.concatenate([[0], rise / rise[-1]])
        smooth = PchipInterpolator(np.linspace(0, 1, self.knots), values)
        return np.asarray(smooth(np.linspace(0, 1, TABLE_SIZE)))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """
        Args:
            img: CHW[D], any numeric dtype.
            randomize: False to apply the last curves again.

        Returns:
            CHW[D] float32 of the same kind as ``img``. A channel of a single gray value stays as it is.
        """
        if randomize:
            self.randomize(len(img))
        image = convert_to_numpy(img).astype(np.float32, order="C")
        if self._do_transform:
            from transforms.intensity.gray_curve_compiled import look_up

            for channel, curve in zip(image.reshape(len(image), -1), self.curves, strict=False):
                low, high = float(channel.min()), float(channel.max())
                if high > low:
                    scale = np.float32((TABLE_SIZE - 1) / (high - low))
                    look_up(channel, curve.astype(np.float32), np.float32(low), np.float32(high - low), scale)
        return convert_to_dst_type(image, img, dtype=np.float32)[0]


class RandGrayCurved(RandomizableTransform, MapTransform):
    """Dictionary form of :class:`RandGrayCurve`: the same curves for all keys, each over its own range."""

    backend = RandGrayCurve.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 1.0,
        knots: int = 5,
        end_low: Sequence[float] = (-0.05, 0.05),
        end_high: Sequence[float] = (0.95, 1.05),
        slope: Sequence[float] = (0.8, 1.2),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob=1.0)  # the array form draws whether it changes the image
        self.gray_curve = RandGrayCurve(prob, knots, end_low, end_high, slope)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandGrayCurved:
        super().set_random_state(seed, state)
        self.gray_curve.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        self.gray_curve.randomize(max((len(d[key]) for key in self.key_iterator(d)), default=1))
        for key in self.key_iterator(d):
            d[key] = self.gray_curve(d[key], randomize=False)
        return d
