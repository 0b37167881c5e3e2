"""The loss of the U-Net paper."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

_REDUCTIONS = ("mean", "weighted_mean", "sum", "none")


class PixelWeightedCrossEntropy(nn.Module):
    """Cross entropy of a pixel-wise softmax, weighted pixel by pixel: eq. (1) of Ronneberger et al. 2015.

    The paper prints E = sum_x w(x) log p_l(x)(x), which training would have to maximise; here it carries the
    minus sign that minimises. The paper does not state a normalisation, so it is an explicit choice:

    ================= =======================================================================
    ``reduction``     value
    ================= =======================================================================
    "mean"            sum(-w log p) / number of pixels: heavy maps pull harder
    "weighted_mean"   sum(-w log p) / sum(w): the scale of the weights cancels; 0 if all are 0
    "sum"             sum(-w log p): eq. (1) as printed; depends on the size of the tile
    "none"            the B1HW[D] map of -w log p
    ================= =======================================================================

    Shape:
        input: BNHW[D] logits of N classes.
        target: B1HW[D] class indices, or B2HW[D] with the class index in channel 0 and the weight in channel 1,
            which is how :func:`bundle.training.batch.prepare_batch` hands both through a MONAI trainer.
        weight: B1HW[D], at least 0; None takes channel 1 of the target, or 1 everywhere.

    Raises:
        ValueError: for an unknown reduction, sizes that differ, or a target of neither form.
        IndexError: (from torch) for a class index outside 0 .. N-1.

    Examples:
        >>> loss = PixelWeightedCrossEntropy(reduction="mean")
        >>> logits = torch.zeros(1, 2, 4, 4)
        >>> round(loss(logits, torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 3.0)).item(), 4)
        2.0794
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(_REDUCTIONS)}, got {reduction!r}")
        self.reduction = reduction

    def forward(self, input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        if target.dim() != input.dim() or target.shape[1] not in (1, 2):
            raise ValueError(
                f"target must be B1HW[D] or B2HW[D] (class, weight) beside an input of shape {tuple(input.shape)}, "
                f"got {tuple(target.shape)}"
            )
        if weight is None and target.shape[1] == 2:
            weight = target[:, 1:]
        target = target[:, :1]
        expected = (input.shape[0], 1, *input.shape[2:])
        for name, given in (("target", target), ("weight", weight)):
            if given is not None and tuple(given.shape) != expected:
                raise ValueError(
                    f"{name} has shape {tuple(given.shape)}, the input's {tuple(input.shape)} asks for {expected}; "
                    "a valid network's output is smaller than its input: centre-crop with CropToOutputd"
                )
        # logits may come from a bf16 forward pass: the logarithm needs full precision
        exact = input.to(torch.promote_types(input.dtype, torch.float32))
        loss = F.cross_entropy(exact, target[:, 0].long(), reduction="none").unsqueeze(1)
        if weight is not None:
            loss = loss * weight
        if self.reduction == "sum":
            return loss.sum()
        if self.reduction == "mean":
            return loss.mean()
        if self.reduction == "weighted_mean":
            total = loss.new_tensor(loss.numel()) if weight is None else weight.sum()
            return loss.sum() / total.clamp(min=torch.finfo(loss.dtype).tiny)
        return loss
