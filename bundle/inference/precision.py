"""Mixed precision as one switch, on CPU as on CUDA: MONAI's engines autocast on CUDA alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from monai.inferers import SimpleInferer

_PRECISIONS = ("auto", "fp32", "bf16", "int8")


def resolve_precision(precision: str, device: torch.device | str, network: Any = None) -> str:
    """ "fp32", "bf16" or "int8" for a device; "auto" takes bf16 where the processor computes it natively.

    On a CPU without native bf16 instructions autocast is slower than fp32, so "auto" stays at fp32 there; so it does
    for a network whose ``precisions`` leave bf16 out, as those of some :mod:`bundle.inference.backends` do. "int8" is
    never taken by itself: it is another network, see :class:`bundle.model.int8_file.Int8Network`.

    Raises:
        ValueError: for another word, and for "int8" where ``network`` is given and is none.
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}")
    if precision == "int8" and network is not None and "int8" not in getattr(network, "precisions", ()):
        raise ValueError("precision int8 needs a network in int8 (bundle.inference.backends.prepare_network)")
    if precision != "auto":
        return precision
    if "bf16" not in getattr(network, "precisions", _PRECISIONS):
        return "fp32"
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = torch.cpu.get_capabilities()
    return "bf16" if native.get("avx512_bf16") or native.get("amx_bf16") or native.get("bf16") else "fp32"


def autocast(precision: str, device: torch.device | str) -> AbstractContextManager[Any]:
    """A context in which convolutions run at ``precision``; weights and loss stay in fp32."""
    if resolve_precision(precision, device) != "bf16":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


class MixedPrecisionInferer(SimpleInferer):
    """One forward pass at a given precision, logits returned in fp32: the inferer of a trainer.

    Args:
        precision: "fp32", "bf16" or "auto" (see :func:`resolve_precision`).

    Raises:
        ValueError: for another word.
    """

    def __init__(self, precision: str = "fp32") -> None:
        super().__init__()
        resolve_precision(precision, "cpu")  # refuse an unknown word here, not in the first step
        if precision == "int8":
            raise ValueError(
                "precision must be one of auto, fp32, bf16 in training, got 'int8': train first, then make the int8 "
                "network by monai.bundle run calibrating (docs/speed.md)"
            )
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        with autocast(self.precision, inputs.device):
            outputs = super().__call__(inputs, network, *args, **kwargs)
        return outputs if outputs.dtype == torch.float64 else outputs.float()
