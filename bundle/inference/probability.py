"""From logits to probabilities, of one class in little more memory than that."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy, ensure_tuple_rep

#: types in which a probability is stored; of uint8, 255 is 1
_STORED = ("float32", "float16", "uint8")

#: px that are a multiple of what any processor computes at once
_VECTOR = 64

#: rows of the first spatial axis that are computed at a time
_ROWS = 256


def class_probability(logits: torch.Tensor, channel: int | str) -> torch.Tensor:
    """The softmax over all classes, of which one is kept.

    Args:
        logits: BNHW[D].
        channel: 0 .. N - 1; "all" keeps all classes.

    Returns:
        B1HW[D], or BNHW[D] of all classes; the type of the logits, 0 .. 1.

    Raises:
        ValueError: for a channel that there is not.
    """
    if channel != "all" and (isinstance(channel, str) or not 0 <= channel < logits.shape[1]):
        raise ValueError(
            f"probability_of must be a channel 0 .. {logits.shape[1] - 1} of the network or 'all', got {channel!r}"
        )
    one = slice(None) if isinstance(channel, str) else slice(channel, channel + 1)
    kept = logits.new_empty(logits[:, one].shape)
    for start in range(0, logits.shape[2], _ROWS):
        rows = slice(start, start + _ROWS)
        kept[:, :, rows] = _softmax(logits[:, :, rows])[:, one]
    return kept


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    """The same bits wherever a px lies: torch rounds the last few of a row, which fill no vector, in another way."""
    flat = logits.flatten(2)
    count = flat.shape[2]
    whole = torch.nn.functional.pad(flat, (0, -count % _VECTOR))
    return whole.softmax(dim=1)[..., :count].reshape(logits.shape)


class ForegroundProbabilityd(MapTransform):
    """The probability of any class but the background's, 1HW[D], from those of all classes, NHW[D].

    Args:
        keys: of the probabilities.
        output_keys: where the foreground's go.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(self, keys: KeysCollection, output_keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            others = d[key][1:]
            d[output_key] = others.clone() if len(others) == 1 else others.sum(0, keepdim=True).clamp(0, 1)
        return d


def require_stored_type(name: str) -> None:
    """
    Raises:
        ValueError: for another name than "float32", "float16" and "uint8".
    """
    if name not in _STORED:
        raise ValueError(f"probability_dtype must be one of {', '.join(_STORED)}, got {name!r}")


def as_stored(probability: np.ndarray, dtype: str) -> np.ndarray:
    """Probabilities 0 .. 1, fp32, rounded to a type of :func:`require_stored_type`."""
    return np.rint(probability * np.float32(255)).astype(np.uint8) if dtype == "uint8" else probability.astype(dtype)


def as_read(stored: np.ndarray) -> np.ndarray:
    """fp32 probabilities of what :func:`as_stored` gave."""
    return stored.astype(np.float32) / np.float32(255) if stored.dtype == np.uint8 else stored.astype(np.float32)


class RoundProbabilityd(MapTransform):
    """Probabilities as they read when they have been stored in fewer bits, so that cells are those of the stored map.

    Args:
        keys: of the probabilities, fp32.
        dtype: "float32" changes nothing; "float16", "uint8".

    Raises:
        ValueError: for another type.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(self, keys: KeysCollection, dtype: str = "float32", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        require_stored_type(dtype)
        self.dtype = dtype

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if self.dtype != "float32":
                rounded = as_read(as_stored(convert_to_numpy(d[key]), self.dtype))
                d[key] = convert_to_dst_type(rounded, d[key])[0]
        return d
