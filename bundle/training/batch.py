"""What MONAI's supervised engines need to train a valid network with a weight for every pixel."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from monai.utils import CommonKeys


def prepare_batch(
    batchdata: dict[str, torch.Tensor],
    device: str | torch.device | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and target of a batch, for ``SupervisedTrainer(prepare_batch=...)``.

    MONAI's trainer hands its loss one target, so label and weight travel together.

    Args:
        batchdata: "image" BCHW[D], "label" B1HW[D] (class indices) and, optionally, "weight" B1HW[D] (fp32).
        device: to move them to.
        non_blocking: asynchronous copies.
        kwargs: further arguments of ``torch.Tensor.to``.

    Returns:
        the image, and the label or B2HW[D] (label, weight) as fp32, exact for up to 2^24 classes.
    """

    def take(key: str) -> torch.Tensor:
        tensor = batchdata[key]
        plain = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
        return plain.to(device=device, non_blocking=non_blocking, **kwargs)

    target = take(CommonKeys.LABEL)
    if "weight" in batchdata:
        weight = take("weight")
        target = torch.cat([target.to(weight.dtype), weight], dim=1)
    return take(CommonKeys.IMAGE), target
