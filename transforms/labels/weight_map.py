"""The weight map of Ronneberger 2015, eq. (2): class balance plus a border term between close cells."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type

from transforms.labels.instances import IGNORE, instance_array
from transforms.labels.nearest_cells import two_nearest_distances

__all__ = ["WeightMap", "WeightMapd", "two_nearest_distances"]

BORDER_ON = ("everywhere", "background")


class WeightMap(Transform):
    """Weight of every pixel in the loss, from a map of instances (Ronneberger 2015, eq. (2))::

        w(x) = w_c(x) + w0 * exp(-(d1(x) + d2(x))^2 / (2 sigma^2))

    d1 and d2 are the Euclidean distances in px to the nearest and second nearest cell, 0 inside the cell itself;
    with one cell or none there is no border term. Pixels that nobody annotated weigh 0 and count for nothing.

    Args:
        w0: height of the border term; the paper's is 10.
        sigma: width of the border term in px; the paper's is about 5.
        balance: w_c of class k is n / (2 n_k), n_k of n annotated pixels being of class k: both classes then
            have the same total weight and the mean of w_c is 1. A class that is absent leaves both at 1. False:
            w_c is 1.
        max_balance: w_c is kept within 1 / max_balance .. max_balance, so that a frame with a single small cell
            does not weigh it a thousandfold.
        class_weights: w_c of (background, cell), instead of ``balance``.
        border_on: ``"everywhere"``, the equation as printed, or ``"background"`` only, as the authors' later
            plugin has it.

    Raises:
        ValueError: ``w0`` negative, ``sigma`` not positive, ``max_balance`` below 1, ``class_weights`` not two
            numbers of at least 0, unknown ``border_on``.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        balance: bool = True,
        max_balance: float = 10.0,
        class_weights: Sequence[float] | None = None,
        border_on: str = "everywhere",
    ) -> None:
        if not w0 >= 0:
            raise ValueError(f"w0 must be at least 0 (0 switches the border term off), got {w0}")
        if not sigma > 0:
            raise ValueError(f"sigma must be above 0 px (the paper's is 5), got {sigma}")
        if not max_balance >= 1:
            raise ValueError(f"max_balance must be at least 1 (1 switches balancing off), got {max_balance}")
        if class_weights is not None and (len(class_weights) != 2 or not min(class_weights) >= 0):
            raise ValueError(
                f"class_weights must be two numbers of at least 0, (background, cell), got {class_weights}"
            )
        if border_on not in BORDER_ON:
            raise ValueError(f"border_on must be one of {', '.join(BORDER_ON)}, got {border_on!r}")
        self.w0 = w0
        self.sigma = sigma
        self.balance = balance
        self.max_balance = max_balance
        self.class_weights = class_weights
        self.border_on = border_on

    def __call__(self, instances: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            instances: 1HW[D] instance map.

        Returns:
            1HW[D] float32 of the same kind as ``instances``.

        Raises:
            ValueError: when ``instances`` is not an instance map.
        """
        cells = instance_array(instances)[0]
        background, ignored = cells == 0, cells == IGNORE
        weight_background, weight_cell = self._class_weights(background.sum(), ignored.sum(), cells.size)
        weight = np.where(background, np.float32(weight_background), np.float32(weight_cell))
        if self.w0 > 0:
            border = self._border(cells)
            weight += border * background if self.border_on == "background" else border
        weight[ignored] = 0
        return convert_to_dst_type(weight[None], instances, dtype=np.float32)[0]

    def _border(self, cells: np.ndarray) -> np.ndarray:
        d1, d2 = two_nearest_distances(cells)
        d1 += d2  # inf without a second cell, and exp(-inf) is 0
        np.square(d1, out=d1)
        d1 *= np.float32(-0.5 / self.sigma**2)
        np.exp(d1, out=d1)
        d1 *= np.float32(self.w0)
        return d1

    def _class_weights(self, background: int, ignored: int, total: int) -> tuple[float, float]:
        """w_c of background and cell."""
        if self.class_weights is not None:
            return float(self.class_weights[0]), float(self.class_weights[1])
        annotated = total - ignored
        cell = annotated - background
        if not self.balance or background == 0 or cell == 0:
            return 1.0, 1.0
        low, high = 1 / self.max_balance, self.max_balance
        return (
            min(max(annotated / (2 * background), low), high),
            min(max(annotated / (2 * cell), low), high),
        )


class WeightMapd(MapTransform):
    """Dictionary form of :class:`WeightMap`: writes the map beside the label, which stays as it is.

    Args:
        keys: the instance map, one key.
        weight_key: where the weight map goes.

    Raises:
        ValueError: more than one key.
    """

    backend = WeightMap.backend

    def __init__(
        self,
        keys: KeysCollection = "label",
        weight_key: str = "weight",
        w0: float = 10.0,
        sigma: float = 5.0,
        balance: bool = True,
        max_balance: float = 10.0,
        class_weights: Sequence[float] | None = None,
        border_on: str = "everywhere",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must be one key, that of the instance map, got {self.keys}")
        self.weight_key = weight_key
        self.weight_map = WeightMap(w0, sigma, balance, max_balance, class_weights, border_on)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[self.weight_key] = self.weight_map(d[key])
        return d
