"""Numbers for the record of a run, taken from what engines hold without waiting for the device they are on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.utils import CommonKeys


class Row(NamedTuple):
    """One value at one time; the iteration and the epoch are the trainer's."""

    time: float
    iteration: int
    epoch: int
    name: str
    value: Any


def snapshot(value: Any) -> Any:
    """A tensor as it is now, on its device, without its graph; anything else as it is.

    A learning rate that is a tensor is changed in place, and a loss from a CUDA graph is overwritten by the next step.
    """
    return value.detach().as_subclass(torch.Tensor).clone() if isinstance(value, torch.Tensor) else value


def loss_of(output: Any) -> Any:
    """The loss of a step from what MONAI's (decollated or not) and plain Ignite trainers put out."""
    if isinstance(output, list | tuple) and output:
        output = output[0]  # decollating copies the loss to every item of the batch
    return snapshot(output.get(CommonKeys.LOSS) if isinstance(output, Mapping) else output)


def scalars(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten metrics: nested names joined by "/", the elements of an array numbered, what is no number left out."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from scalars(value, f"{name}/")
            continue
        if isinstance(value, torch.Tensor):
            flat = [] if value.is_complex() else list(snapshot(value).flatten())
        else:
            array = np.asarray(value)
            flat = array.ravel().tolist() if array.dtype.kind in "biuf" else []
        yield from ((name if len(flat) == 1 else f"{name}_{i}", element) for i, element in enumerate(flat))


def number(value: Any) -> float:
    """For the writing thread, where waiting for a GPU costs nothing; NaN for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return float("nan")
