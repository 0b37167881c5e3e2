"""The weight map of Ronneberger 2015, eq. (2): class balance plus a border term between close cells."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type

from transforms.labels.instances import IGNORE, class_array, instance_array
from transforms.labels.nearest_cells import two_nearest_distances

BORDER_ON = ("everywhere", "background")


class WeightMap(Transform):
    """Weight of every pixel in the loss, from a map of instances (Ronneberger 2015, eq. (2))::

        w(x) = w_c(x) + w0 * exp(-(d1(x) + d2(x))^2 / (2 sigma^2))

    d1 and d2 are the Euclidean distances in px to the nearest and second nearest cell, 0 inside the cell itself;
    with one cell or none there is no border term. Pixels that nobody annotated weigh 0 and count for nothing.

    Args:
        w0: height of the border term; the paper's is 10.
        sigma: width of the border term in px; the paper's is about 5.
        max_balance: w_c is kept within 1 / max_balance .. max_balance, so that a frame with a single small cell
            does not weigh it a thousandfold.
        class_weights: w_c of (background, cell), or of every class in order; those of a whole data set come from
            :func:`balanced_weights`. None: w_c of class k is n / (K n_k), n_k of n annotated pixels being of class k
            and K classes present: all of these then have the same total weight and the mean of w_c is 1; of a single
            one it is 1.
        border_on: ``"everywhere"``, the equation as printed, or ``"background"`` only, as the authors' later
            plugin has it.
        spacing: between pixels along each axis, for distances and ``sigma`` in its unit; None: in px.

    Raises:
        ValueError: ``w0`` negative, ``sigma`` not positive, ``max_balance`` below 1, ``class_weights`` not two or more
            numbers of at least 0, unknown ``border_on``; on call, a class that ``class_weights`` has no number for.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        max_balance: float = 10.0,
        class_weights: Sequence[float] | None = None,
        border_on: str = "everywhere",
        spacing: Sequence[float] | None = None,
    ) -> None:
        if not w0 >= 0:
            raise ValueError(f"w0 must be at least 0 (0 switches the border term off), got {w0}")
        if not sigma > 0:
            raise ValueError(f"sigma must be above 0 px (the paper's is 5), got {sigma}")
        if not max_balance >= 1:
            raise ValueError(f"max_balance must be at least 1 (1 switches balancing off), got {max_balance}")
        if class_weights is not None and (len(class_weights) < 2 or not min(class_weights) >= 0):
            raise ValueError(
                "class_weights must be two numbers of at least 0, (background, cell), or one of each class, got "
                f"{class_weights}"
            )
        if border_on not in BORDER_ON:
            raise ValueError(f"border_on must be one of {', '.join(BORDER_ON)}, got {border_on!r}")
        self.w0 = w0
        self.sigma = sigma
        self.max_balance = max_balance
        self.class_weights = class_weights
        self.border_on = border_on
        self.spacing = spacing
        self.inner: Callable[[tuple[int, ...]], tuple[slice, ...]] | None = None

    def __call__(self, instances: NdarrayOrTensor, class_of: np.ndarray | None = None) -> NdarrayOrTensor:
        """
        Args:
            instances: 1HW[D] instance map.
            class_of: the class of each instance at its number, see :mod:`transforms.labels.classes`; None: all are 1.

        Returns:
            1HW[D] float32 of the same kind as ``instances``.

        Raises:
            ValueError: when ``instances`` is not an instance map, or ``class_of`` does not have its instances.
        """
        cells = instance_array(instances)[0]
        w_c = self._class_weights(cells, class_of)
        region = tuple(slice(0, n) for n in cells.shape) if self.inner is None else self.inner(cells.shape)
        inside = cells[region]
        weight = w_c[class_array(inside, class_of)]
        if self.w0 > 0:
            border = self._border(cells, region, float(w_c[0] if self.border_on == "background" else w_c.min()))
            weight += border * (inside == 0) if self.border_on == "background" else border
        weight[inside == IGNORE] = 0
        if weight.shape != cells.shape:
            whole = np.zeros(cells.shape, np.float32)
            whole[region] = weight
            weight = whole
        return convert_to_dst_type(weight[None], instances, dtype=np.float32)[0]

    def _border(self, cells: np.ndarray, region: tuple[slice, ...], least: float) -> np.ndarray:
        """The border term, where adding it to a number of at least ``least`` makes a difference in float32."""
        # half of float32's last bit of least, or of its smallest number, each with some bits to spare
        nothing = max(least * 2.0**-26, 2.0**-153)
        reach = self.sigma * float(np.sqrt(2 * max(0.0, np.log(self.w0 / nothing))))
        d1, d2 = two_nearest_distances(cells, self.spacing, region, reach)
        d1 += d2  # inf without a second cell, and exp(-inf) is 0
        np.square(d1, out=d1)
        d1 *= np.float32(-0.5 / self.sigma**2)
        np.exp(d1, out=d1)
        d1 *= np.float32(self.w0)
        return d1

    def _class_weights(self, cells: np.ndarray, class_of: np.ndarray | None) -> np.ndarray:
        """w_c of every class, float32; of the whole map."""
        if class_of is None:
            counts = np.array([np.count_nonzero(cells == 0), np.count_nonzero(cells > 0)])
        else:
            classes = class_array(cells, class_of)
            counts = np.bincount(classes[cells != IGNORE], minlength=1 + int(classes.max(initial=1)))
        if self.class_weights is not None:
            largest = int(np.flatnonzero(counts).max(initial=0))
            if largest >= len(self.class_weights):
                raise ValueError(f"class_weights has {len(self.class_weights)} numbers, none for class {largest}")
            return np.array(self.class_weights, np.float32)
        return np.array(balanced_weights(counts, self.max_balance), np.float32)


def balanced_weights(counts: Sequence[int] | np.ndarray, max_balance: float = 10.0) -> list[float]:
    """w_c that gives all classes the same total weight: n / (K n_k) of the K classes that are present.

    Args:
        counts: annotated pixels of each class.
        max_balance: bound, see :class:`WeightMap`.

    Returns:
        one number for each class; 1 for an absent one, and for all where fewer than two are present.

    Examples:
        >>> balanced_weights([6, 0, 3, 3])
        [0.6666666666666666, 1.0, 1.3333333333333333, 1.3333333333333333]
    """
    total, present = int(sum(counts)), sum(int(count) > 0 for count in counts)
    if present < 2:
        return [1.0] * len(counts)
    low, high = 1 / max_balance, max_balance
    return [min(max(total / (present * int(n)), low), high) if n else 1.0 for n in counts]


class WeightMapd(MapTransform):
    """Dictionary form of :class:`WeightMap`: writes the map beside the label, which stays as it is.

    Args:
        keys: the instance map, one key.
        weight_key: where the weight map goes.
        class_of_key: of the table of classes, which an item may lack.

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
        max_balance: float = 10.0,
        class_weights: Sequence[float] | None = None,
        border_on: str = "everywhere",
        class_of_key: str = "class_of",
        allow_missing_keys: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must be one key, that of the instance map, got {self.keys}")
        self.weight_key = weight_key
        self.class_of_key = class_of_key
        self.weight_map = WeightMap(w0, sigma, max_balance, class_weights, border_on, spacing)

    def within(self, inner: Callable[[tuple[int, ...]], tuple[slice, ...]]) -> WeightMapd:
        """A copy that weighs the pixels which a later crop keeps, with the same bits; the others weigh 0.

        Args:
            inner: what is kept of a spatial size, see :meth:`transforms.CropToOutput.inner`.
        """
        made = copy.copy(self)
        made.weight_map = copy.copy(self.weight_map)
        made.weight_map.inner = inner
        return made

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[self.weight_key] = self.weight_map(d[key], d.get(self.class_of_key))
        return d
