"""What MONAI Label gets instead of files: one label map for its own writer, in the place of the prediction."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import TransformBackends, convert_to_tensor

#: formats that MONAI Label would write back with a loss, or that hold no more than 255 cells
NO_LABELS = (".jpg", ".jpeg", ".bmp")


class LabelMapd(MapTransform):
    """The label map that MONAI Label returns for an image; the last of the ``post_transforms``.

    MONAI Label writes what it finds under ``keys`` in the format of the image and the geometry in its meta data. So
    the map has no channel (a 2D one with its channel would be written as a row of pixels), and the writer's own
    parameters are set where the image's format or the type asked for cannot hold labels: ``result_extension`` becomes
    ``.png`` for JPEG and BMP, ``result_dtype`` the smallest unsigned type.

    Args:
        keys: where the map goes, one key.
        probability_key: 1HW[D], probability of "cell"; KHW[D] of K classes, the background's first.
        separate: the numbers of "instances", 1HW[D], one for each cell; False: 1 where the probability is above
            ``threshold``; of K classes the likeliest, 1..K - 1, where that of all but the background is.
        threshold: at least 0 and below 1.

    Raises:
        ValueError: for several keys, a ``separate`` that is no truth value, or a threshold out of range.

    Shape:
        output: HW[D], a MetaTensor of uint8 or, of separate cells, int32.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        keys: KeysCollection = "pred",
        probability_key: str = "pred_cell",
        separate: bool = False,
        threshold: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must be one key, that of the map, got {self.keys}")
        if not isinstance(separate, bool):  # "false" of a request would count as true
            raise ValueError(f"instances must be true or false, got {separate!r}")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1 (0.5 is usual), got {threshold!r}")
        self.probability_key = probability_key
        self.separate = separate
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.separate:
            labels = convert_to_tensor(d["instances"], track_meta=False)[0].to(torch.int32)
        else:
            d.pop("cell_classes", None)  # of cells that the map does not number
            probability = convert_to_tensor(d[self.probability_key], track_meta=False)
            if len(probability) == 1:
                labels = (probability[0] > self.threshold).to(torch.uint8)
            else:
                cell = probability[1:].sum(0) > self.threshold
                labels = torch.where(cell, probability[1:].argmax(0) + 1, 0).to(torch.uint8)
        d[self.keys[0]] = MetaTensor(labels.cpu())  # MONAI Label's scoring sums it by numpy, which refuses a plain one
        d["result_dtype"] = _fitting(d.get("result_dtype"), int(labels.max()))
        extension = d.get("result_extension") or Path(str(d.get("image_path", ""))).suffix
        if extension.lower() in NO_LABELS:
            d["result_extension"] = ".png"
        return d


def _fitting(wanted: str | None, largest: int) -> str:
    """The type asked for, or the smallest that holds all labels."""
    if wanted is not None and np.dtype(wanted).kind in "iu" and np.iinfo(wanted).max >= largest:
        return str(np.dtype(wanted))
    return str(np.min_scalar_type(largest))
