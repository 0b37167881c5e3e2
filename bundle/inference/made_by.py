"""What computed a result: for tables and pages."""

from __future__ import annotations

from typing import Any

import torch

from bundle.inference.precision import resolve_precision


def made_by(trained: Any, predictor: Any, precision: str, device: torch.device | str, read_by: str) -> dict[str, str]:
    """Network, backend and precision, as they are now, and how cells are read.

    Args:
        trained: :class:`bundle.model.TrainedNetwork`, or anything with its ``name``.
        predictor: the network in its backend; PyTorch computes any other.
        precision: that was asked for.
        device: where it runs.
        read_by: the options of cells, :meth:`bundle.cells.FindClassesd.words`.
    """
    return {
        "network": str(trained.name),
        "backend": str(getattr(predictor, "backend", "eager")),
        "precision": resolve_precision(precision, device, predictor),
        "cells_read_by": read_by,
    }
