"""Checkpoints: plain tensors and numbers, read with weights_only, written whole or not at all."""

from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bundle.atomic import cannot_be_written, replacing
from bundle.console import nearest_path
from bundle.model.architecture import unet_arguments
from bundle.model.seal import is_whole, seal

logger = logging.getLogger(__name__)

#: the network that comes with the repository, in its folder models/
SHIPPED = "em_membranes.pt"
#: what torch raises for a file that is no checkpoint, or half of one
_DAMAGED = (pickle.UnpicklingError, struct.error, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError)
#: what zipfile raises on top of these
_BAD_ZIP = (*_DAMAGED, zipfile.BadZipFile, zlib.error)


class DiskFullError(OSError):
    """A checkpoint does not fit on the disk, or beyond a quota or size limit."""


def write(path: str | os.PathLike[str], content: Any, beside: Callable[[Path], None] | None = None) -> None:
    """Save tensors, numbers, text, lists and dicts of them; a reader never sees half a file.

    Tensors are stored as the CPU's: the same weights give the same bytes whatever device they were trained on. The
    content and its digest (:mod:`bundle.model.seal`) go to a temporary file beside ``path``, are flushed to the disk
    and take its place in one step.

    Args:
        path: of the file.
        content: to be saved.
        beside: gets the finished file right before that last step, to write what must come with it.

    Raises:
        OSError: when the folder cannot be written, DiskFullError when the disk is full; the file that was there before
            stays.
        ValueError: for a network, alone or under "network", with values that are not finite.
    """
    path = Path(path)
    _require_finite(content, f"{path} is not written: the network")
    try:
        with replacing(path) as part:
            with part.open("wb") as file:
                torch.save(_on_cpu(content), file)
            seal(part)
            if beside is not None:
                beside(part)
    except (OSError, RuntimeError) as error:
        cause = _of_the_system(error)
        if cause is None:
            raise
        if cause.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise error if cause is error else cannot_be_written(path, cause) from None
        needed, free = (f"{size / 2**20:.1f} MiB" for size in (_size(content), shutil.disk_usage(path.parent).free))
        raise DiskFullError(
            f"{path} cannot be written ({os.strerror(cause.errno)}): it needs {needed}, {free} are free"
        ) from None


def _of_the_system(error: BaseException | None) -> OSError | None:
    """The failed access behind an error: torch's writer in C++ may raise its own on top."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


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
        FileNotFoundError: naming the checkpoints beside it, or in it where it is a folder.
    """
    path = Path(path)
    if not path.is_file():
        folder, fault = (path, "is a folder") if path.is_dir() else (path.parent, "does not exist")
        beside = sorted(str(p) for p in folder.glob("*.pt")) if folder.is_dir() else []
        hint = "train a network first, or name one by --checkpoint"
        if beside:
            hint = f"there are {', '.join(beside)}"
        elif near := nearest_path(path):
            hint = f"did you mean {near}?"
        raise FileNotFoundError(f"checkpoint {path} {fault}; {hint}")


def read(path: str | os.PathLike[str], data: bytes | None = None) -> Any:
    """Load what :func:`write` saved, to the CPU, without running any code in it (weights_only).

    Args:
        path: of the checkpoint.
        data: its content, where it has been read and checked (:func:`require_whole`) already.

    Raises:
        FileNotFoundError: as :func:`require_file`.
        PermissionError: when it may not be read.
        ValueError: when the file is damaged or holds more than plain tensors and numbers.
    """
    require_file(path)
    if data is None:
        require_whole(path)
    try:
        return torch.load(path if data is None else io.BytesIO(data), map_location="cpu", weights_only=True)
    except PermissionError:
        raise  # the file may be whole
    except _DAMAGED as error:
        raise _unreadable(path) from error


def require_whole(path: str | os.PathLike[str], data: bytes | None = None) -> None:
    """Check the digest of a checkpoint, which takes a fifth of the time that loading it does.

    Args:
        path: of the checkpoint.
        data: its content, where it has been read already.

    Raises:
        ValueError: when the file is not as it was written.
    """
    try:
        with open(path, "rb") if data is None else io.BytesIO(data) as file:
            whole = is_whole(file)
    except _BAD_ZIP as error:
        raise _unreadable(path) from error
    if not whole:
        raise ValueError(
            f"checkpoint {path} cannot be read: it is damaged (not as it was written); use a copy of it, or another one"
        )


def _unreadable(path: str | os.PathLike[str]) -> ValueError:
    return ValueError(
        f"checkpoint {path} cannot be read: it is damaged, or holds more than tensors and numbers (a TorchScript "
        "export, pickled objects); a model.pt, best.pt or last.pt of this bundle is wanted"
    )


def default_model(folder: str | os.PathLike[str]) -> str:
    """The model file that inference uses: ``model.pt``, the one trained here last, else the shipped one."""
    own, shipped = Path(folder, "model.pt"), Path(folder, SHIPPED)
    if own.is_file() or not shipped.is_file():
        return str(own)
    logger.warning(
        "no network was trained here (%s does not exist): using the shipped %s, which knows neuronal membranes in EM "
        "sections and nothing else; for nuclei in fluorescence give --checkpoint %s, for other images train one, or "
        "name yours by --checkpoint", own, shipped, shipped.with_name("nuclei.pt"),
    )  # fmt: skip
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
        ValueError: as :func:`require_fitting_weights`; the network is left as it was.
    """
    require_fitting_weights(network, weights, path)
    network.load_state_dict(weights)


def require_fitting_weights(
    network: nn.Module, weights: Mapping[str, torch.Tensor], path: str | os.PathLike[str]
) -> None:
    """Check that a state dict, which ``path`` has, is one of a network's.

    Raises:
        ValueError: for values that are not finite.
        ValueError: when the checkpoint belongs to another architecture; the message names the first differences, and
            for a U-Net the arguments that would fit.
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
