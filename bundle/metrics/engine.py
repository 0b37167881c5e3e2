"""The metrics as MONAI metrics: batches in, one value an epoch, the same on one process as on several."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric

from bundle.metrics.isbi2012 import f_scores, pixel_counts

__all__ = ["PixelError", "PixelErrorHandler"]


class PixelError(CumulativeIterationMetric):
    """:func:`bundle.metrics.isbi2012.pixel_error` pooled over all images seen.

    Shape:
        y_pred: B1HW[D] probability of cell in 0..1.
        y: B1HW[D], above 0 where there is cell; pixels below 0 were annotated by nobody and do not count.
    """

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        if y is None or y.shape != y_pred.shape:
            raise ValueError(
                f"y has shape {None if y is None else tuple(y.shape)}, y_pred {tuple(y_pred.shape)}: they must be equal"
            )
        rows = []
        for truth, proposal in zip(y.cpu().numpy(), y_pred.float().cpu().numpy(), strict=True):
            known = truth >= 0
            rows.append(pixel_counts(truth[known] > 0, proposal[known]))
        return torch.from_numpy(np.stack(rows))

    def aggregate(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        counts = self.get_buffer()
        if not isinstance(counts, torch.Tensor):
            raise ValueError("no image was seen: PixelError has nothing to aggregate")
        return torch.tensor(1 - f_scores(counts.sum(dim=0).cpu().numpy()).max())


class PixelErrorHandler(IgniteMetricHandler):
    """:class:`PixelError` for the engines; lower is better, so negate it before choosing the best by it.

    Args:
        output_transform: (y_pred, y) from the engine's output, as :func:`monai.handlers.from_engine` makes it.
    """

    def __init__(self, output_transform: Any) -> None:
        super().__init__(metric_fn=PixelError(), output_transform=output_transform, save_details=False)
