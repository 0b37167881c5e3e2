"""Checkpoints: plain tensors and numbers, read with weights_only, written whole or not at all."""

from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from bundle.atomic import replacing
from bundle.model.architecture import unet_arguments

__all__ = [
    "SHIPPED",
    "DiskFullError",
    "default_model",
    "load_weights",
    "network_weights",
    "not_finite",
    "read",
    "require_file",
    "require_same_optimizer",
    "write",
]

logger = logging.getLogger(__name__)

#: the network that comes with the repository, in its folder models/
SHIPPED = "em_membranes.pt"
#: what torch raises for a file that is no checkpoint, or half of one
_DAMAGED = (pickle.UnpicklingError, struct.error, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError)
#: settings in the groups of an optimizer that a person chooses, but for the rate
_OPTIMIZER = ("momentum", "betas", "weight_decay", "nesterov", "dampening")


class DiskFullError(OSError):
    """A checkpoint does not fit on the disk, or beyond a quota or size limit."""


def write(path: str | os.PathLike[str], content: Any) -> None:
    """Save tensors, numbers, text, lists and dicts of them; a reader never sees half a file.

    Tensors are stored as the CPU's: the same weights give the same bytes whatever device they were trained on. The
    content goes to a temporary file beside ``path``, is flushed to the disk and takes its place in one step.

    Raises:
        OSError: when the folder cannot be written, DiskFullError when the disk is full; the file that was there before
            stays.
        ValueError: for a network, alone or under "network", with values that are not finite.
    """
    path = Path(path)
    _require_finite(content, f"{path} is not written: the network")
    try:
        with replacing(path) as part, part.open("wb") as file:
            torch.save(_on_cpu(content), file)
    except (OSError, RuntimeError) as error:
        full = _full_disk(error)
        if full is None:
            raise
        needed, free = (f"{size / 2**20:.1f} MiB" for size in (_size(content), shutil.disk_usage(path.parent).free))
        raise DiskFullError(f"{path} cannot be written ({full.strerror}): it needs {needed}, {free} are free") from None


def _full_disk(error: BaseException | None) -> OSError | None:
    """The full disk, quota or size limit behind an error: torch's writer in C++ may raise its own on top."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return error
        error = error.__cause__ or error.__context__
    return None


def _size(content: Any) -> int:
    """Bytes of all tensors."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, Mapping):
        content = list(content.values())
    return sum(map(_size, content)) if isinstance(content, list | tuple) else 0


def require_file(path: str | os.PathLike[str]) -> None:
    """Check that there is such a checkpoint.

    Raises:
        FileNotFoundError: naming the checkpoints beside it.
    """
    path = Path(path)
    if not path.is_file():
        beside = sorted(str(p) for p in path.parent.glob("*.pt")) if path.parent.is_dir() else []
        hint = f"; there are {', '.join(beside)}" if beside else "; train first (make quickstart) or name one"
        raise FileNotFoundError(f"checkpoint {path} does not exist{hint}")


def read(path: str | os.PathLike[str], data: bytes | None = None) -> Any:
    """Load what :func:`write` saved, to the CPU, without running any code in it (weights_only).

    Args:
        path: of the checkpoint.
        data: its content, where it has been read already.

    Raises:
        FileNotFoundError: as :func:`require_file`.
        ValueError: when the file is truncated or holds more than plain tensors and numbers.
    """
    require_file(path)
    try:
        return torch.load(path if data is None else io.BytesIO(data), map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise ValueError(
            f"checkpoint {path} cannot be read: it is damaged, or holds more than tensors and numbers (a TorchScript "
            "export, pickled objects); a model.pt, best.pt or last.pt of this bundle is wanted"
        ) from error


def default_model(folder: str | os.PathLike[str]) -> str:
    """The model file that inference uses: ``model.pt``, the one trained here last, else the shipped one."""
    own, shipped = Path(folder, "model.pt"), Path(folder, SHIPPED)
    if own.is_file() or not shipped.is_file():
        return str(own)
    logger.info(
        "%s does not exist: using the shipped network %s, trained on EM membranes (docs/README.md)", own, shipped
    )
    return str(shipped)


def not_finite(weights: Mapping[str, torch.Tensor]) -> str | None:
    """Name of the first tensor that holds NaN or infinity; None when all are finite."""
    return next((name for name, tensor in weights.items() if not torch.isfinite(tensor).all()), None)


def _require_finite(content: Any, what: str) -> None:
    weights = content.get("network", content) if isinstance(content, Mapping) else {}
    tensors = isinstance(weights, Mapping) and all(isinstance(value, torch.Tensor) for value in weights.values())
    name = not_finite(weights) if tensors else None
    if name is not None:
        raise ValueError(
            f"{what} holds values that are not finite in {name}: its training diverged; train again with a lower "
            "learning rate, or use an earlier checkpoint"
        )


def _on_cpu(content: Any) -> Any:
    if isinstance(content, torch.Tensor):
        return content.cpu()
    if isinstance(content, Mapping):
        return {key: _on_cpu(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(map(_on_cpu, content))
    return content


def network_weights(content: Any) -> Mapping[str, torch.Tensor]:
    """The network's state dict in a model file (a plain state dict) or a training checkpoint ("network")."""
    weights = content.get("network", content) if isinstance(content, Mapping) else content
    if not isinstance(weights, Mapping) or not all(isinstance(t, torch.Tensor) for t in weights.values()):
        raise ValueError("the checkpoint holds no network: expected a state dict of tensors, or one under 'network'")
    return weights


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor], path: str | os.PathLike[str]) -> None:
    """Load a state dict, which ``path`` has, into a network.

    Raises:
        ValueError: for values that are not finite.
        ValueError: when the checkpoint belongs to another architecture; the network is left as it was. The message
            names the first differences, and for a U-Net the arguments that would fit.
    """
    _require_finite(weights, f"checkpoint {path}")
    own = network.state_dict()
    differences = [f"{name} is missing" for name in own if name not in weights]
    differences += [f"{name} is unknown" for name in weights if name not in own]
    differences += [
        f"{name} is {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if differences:
        fitting = unet_arguments(weights)
        hint = f". It fits UNet({', '.join(f'{k}={v!r}' for k, v in fitting.items())})" if fitting else ""
        raise ValueError(
            f"checkpoint {path} is of another architecture than {type(network).__name__}: "
            f"{len(differences)} differences, such as {'; '.join(differences[:3])}{hint}"
        )
    network.load_state_dict(weights)


def require_same_optimizer(fresh: Optimizer, state: Mapping[str, Any], path: Path) -> None:
    """Check that an optimizer has the settings of its state in the checkpoint ``path``, which would replace them.

    Raises:
        ValueError: naming those that differ.
    """
    for group, kept in zip(fresh.param_groups, state["param_groups"], strict=False):
        # a schedule moves the rate, and some the momentum, away from where they began
        now = {"lr": group.get("initial_lr", group["lr"])} | {name: group[name] for name in _OPTIMIZER if name in group}
        before = {**kept, "lr": kept.get("initial_lr", kept["lr"])}
        scheduled = ("momentum", "betas") if "max_momentum" in kept else ()
        changed = [
            f"{name} {value} instead of {before[name]}"
            for name, value in now.items()
            if name in before and name not in scheduled and before[name] != value
        ]
        if changed:
            raise ValueError(
                f"{path} belongs to a run whose optimizer has other settings ({', '.join(changed)}): repeat its "
                "command and add --resume true, or start a new run"
            )
