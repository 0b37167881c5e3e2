"""Windows to train a network that classifies one pixel at a time: as many of them centred on each class."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.transforms.traits import MultiSampleTrait
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy

from bundle.geometry import WindowGeometry, mirror_indices
from transforms.labels.instances import IGNORE

BORDERS = ("mirror", "inside")


class RandBalancedWindows(RandomizableTransform, MultiSampleTrait):
    """Cut windows out of an image around random pixels, half of them cell and half background (Ciresan 2012).

    Of more than two classes each gets as many, and the first ones one more where that does not divide. Every pixel of a
    class is as likely as any other of it, and may be drawn again. Pixels that nobody annotated are not drawn. Where a
    class is missing the others share its windows; where nothing is annotated they lie anywhere, and their weight is 0.

    Args:
        window: side of the windows in px, odd.
        num_samples: windows an image, even for two classes, else at least one for each.
        border: "mirror": every pixel may be drawn, and the part of its window beyond the image is mirrored without
            repeating the edge. "inside": only those whose window is inside the image, for an image whose
            surroundings another transform has added already.
        classes: how many there are. Of two, each positive number in a label is a cell; of more, it is the class.

    Attributes:
        centres: (num_samples, 2), the pixels drawn last.
        weight: of the windows drawn last, 1 or 0.

    Raises:
        ValueError: a ``window`` that is not positive and odd, a ``num_samples`` that is not allowed, an unknown
            ``border``; on call, a window larger than the image, or image, label and weight of different sizes.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, window: int, num_samples: int = 64, border: str = "mirror", classes: int = 2) -> None:
        super().__init__()
        self.margin = WindowGeometry(window).margin
        whole = isinstance(num_samples, int) and not isinstance(num_samples, bool) and num_samples >= classes
        if not whole or (classes == 2 and num_samples % 2):
            allowed = (
                "an even integer of at least 2, half" if classes == 2 else f"an integer of at least {classes}, one"
            )
            raise ValueError(f"num_samples must be {allowed} for each class, got {num_samples!r}")
        if border not in BORDERS:
            raise ValueError(f"border must be one of {', '.join(BORDERS)}, got {border!r}")
        self.window = window
        self.num_samples = num_samples
        self.border = border
        self.classes = classes
        self.centres: np.ndarray | None = None
        self._image_size: tuple[int, ...] = ()
        self.weight = 1.0

    def randomize(self, data: NdarrayOrTensor, weight: NdarrayOrTensor | None = None) -> None:
        """Draw the pixels from a label and, where it does not tell what is annotated, its weight; both 1HW."""
        label = convert_to_numpy(data)[0]
        self._require_fitting(label.shape)
        if weight is not None and tuple(weight.shape[1:]) != label.shape:
            raise ValueError(f"weight is {tuple(weight.shape[1:])} px, the label {label.shape}: sizes must be equal")
        self._image_size = label.shape
        annotated = label != IGNORE
        if weight is not None:
            annotated &= convert_to_numpy(weight)[0] > 0
        skip = self.margin if self.border == "inside" else 0
        inner = tuple(slice(skip, n - skip) for n in label.shape)
        kinds = np.where(annotated, self.class_of(label), IGNORE)[inner]
        present = [pixels for number in range(self.classes) if (pixels := np.flatnonzero(kinds == number)).size]
        self.weight = float(bool(present))
        present = present or [np.arange(kinds.size)]
        share, more = divmod(self.num_samples, len(present))
        drawn = [pixels[self.R.randint(pixels.size, size=share + (i < more))] for i, pixels in enumerate(present)]
        self.centres = np.stack(np.unravel_index(np.concatenate(drawn), kinds.shape), axis=1) + skip

    def class_of(self, label: np.ndarray) -> np.ndarray:
        """The class of numbers of a label."""
        return np.asarray(label > 0 if self.classes == 2 else np.maximum(label, 0), np.int64)

    def __call__(
        self,
        img: NdarrayOrTensor,
        label: NdarrayOrTensor | None = None,
        weight: NdarrayOrTensor | None = None,
        randomize: bool = True,
    ) -> list[NdarrayOrTensor]:
        """
        Args:
            img: CHW.
            label: 1HW, positive on cells, 0 on background, :data:`transforms.IGNORE` where nobody annotated.
            weight: 1HW, 0 where nobody annotated, for a label that does not tell; other weights make no difference.
            randomize: False to cut around the pixels drawn last.

        Returns:
            ``num_samples`` windows CHW of the same kind and dtype as ``img``, each in memory of its own.
        """
        if randomize:
            if label is None:
                raise ValueError("label must be given to draw windows by class, got None")
            self.randomize(label, weight)
        if self.centres is None:
            raise RuntimeError("nothing was drawn yet: call with a label and randomize=True first")
        size = tuple(img.shape[1:])
        if size != self._image_size:
            raise ValueError(f"the image is {size} px, the label was {self._image_size}: sizes must be equal")
        offsets = np.arange(self.window)
        rows, columns = (
            np.asarray(mirror_indices(-self.margin, n + self.margin, n))[self.centres[:, axis, None] + offsets]
            for axis, n in enumerate(size)
        )
        plain: Any = img.as_tensor() if isinstance(img, MetaTensor) else img
        windows = [plain[:, row[:, None], column] for row, column in zip(rows, columns, strict=True)]
        return [convert_to_dst_type(window, img)[0] for window in windows] if isinstance(img, MetaTensor) else windows

    def _require_fitting(self, size: Sequence[int]) -> None:
        if len(size) != 2:
            raise ValueError(f"windows are cut out of 2D images CHW, the label has spatial size {tuple(size)}")
        if min(size) < self.window:
            tile = "; in training this image is the tile, whose size is tile_size" if self.border == "inside" else ""
            raise ValueError(
                f"window {self.window} px is larger than the image of {tuple(size)} px: the smallest image is "
                f"{self.window} px along both axes{tile}"
            )


class RandBalancedWindowsd(RandomizableTransform, MapTransform, MultiSampleTrait):
    """Dictionary form of :class:`RandBalancedWindows`: an item becomes a list of them, one a window.

    MONAI's ``DataLoader`` makes one batch of that list. In each, the label is the class of the middle pixel (1, 1, 1)
    int64, and the weight (1, 1, 1) float32 is 1, for the balance is in the sampling; all other entries are the
    item's.

    Args:
        keys: of what windows are cut, all of one spatial size.
        window, num_samples, border, classes: see :class:`RandBalancedWindows`.
        label_key: of the label.
        weight_key: of the weight map, which an item may lack.

    Raises:
        KeyError: an item without label.
        ValueError: whatever the array form raises.
    """

    backend = RandBalancedWindows.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: int,
        num_samples: int = 64,
        border: str = "mirror",
        label_key: str = "label",
        weight_key: str = "weight",
        classes: int = 2,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self)
        self.label_key = label_key
        self.weight_key = weight_key
        self.cut = RandBalancedWindows(window, num_samples, border, classes)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandBalancedWindowsd:
        super().set_random_state(seed, state)
        self.cut.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        d = dict(data)
        label, weight = d[self.label_key], d.get(self.weight_key)
        self.cut.randomize(label, weight)
        items = [dict(d) for _ in range(self.cut.num_samples)]
        for key in self.key_iterator(d):
            for item, window in zip(items, self.cut(d[key], randomize=False), strict=True):
                item[key] = window
        assert self.cut.centres is not None  # just drawn
        classes = self.cut.class_of(convert_to_numpy(label)[0][tuple(self.cut.centres.T)])
        for item, kind in zip(items, classes, strict=True):
            item[self.label_key] = _one_pixel(kind, label, np.int64)
            item[self.weight_key] = _one_pixel(self.cut.weight, label, np.float32)
        return items


def _one_pixel(value: Any, like: NdarrayOrTensor, dtype: Any) -> NdarrayOrTensor:
    return convert_to_dst_type(np.full((1, 1, 1), value), like, dtype=dtype)[0]
