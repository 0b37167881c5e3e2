"""The int8 form of a network, in a file beside its own: ``model.int8.pt`` beside ``model.pt``.

It is a graph that OpenVINO reads, whose weights are 8 bit integers, with the ranges that its activations had on the
images it was calibrated on. It fits the weights that it was made from and no others, which it names by their digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bundle.model import checkpoints

_HOW = "make one by monai.bundle run calibrating (docs/speed.md)"


@dataclass(frozen=True)
class Int8Network:
    """
    Attributes:
        graph: of OpenVINO, as XML; tiles of any size that the network takes fit it.
        constants: of the graph, uint8.
        of: digest of the weights that it was made from.
        path: of the file.
    """

    graph: str
    constants: torch.Tensor
    of: str
    path: str = ""

    @classmethod
    def beside(cls, checkpoint: str | os.PathLike[str]) -> Int8Network:
        """Of a model file.

        Raises:
            FileNotFoundError: when there is none.
            ValueError: when the file is damaged, or another one.
        """
        path = int8_file(checkpoint)
        if not path.is_file():
            raise FileNotFoundError(f"precision int8 needs {path}, which does not exist: {_HOW}")
        content = checkpoints.read(path)
        kinds = {"graph": str, "constants": torch.Tensor, "of": str}
        if not isinstance(content, Mapping) or {name: type(value) for name, value in content.items()} != kinds:
            raise ValueError(f"{path} is no int8 network: {_HOW}")
        return cls(**content, path=str(path))

    def write(self, checkpoint: str | os.PathLike[str]) -> Path:
        """Put it beside a model file; errors as of :func:`bundle.model.checkpoints.write`."""
        path = int8_file(checkpoint)
        checkpoints.write(path, {"graph": self.graph, "constants": self.constants, "of": self.of})
        return path

    def require_of(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Check that it was made from these weights.

        Raises:
            ValueError: when it was made from others.
        """
        if digest_of(weights) != self.of:
            raise ValueError(f"{self.path} was made from another network than the one it stands beside: {_HOW}")


def int8_file(checkpoint: str | os.PathLike[str]) -> Path:
    """Its place beside a model file."""
    return Path(checkpoint).with_suffix(".int8.pt")


def digest_of(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names, shapes, dtypes and values of a state dict, wherever they are kept."""
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain: Any = tensor.detach().cpu().contiguous()
        found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
