"""The network of a package in its three formats, without what a file would tell of the machine that made it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import torch

from bundle.inference.backends.runtimes import onnx_model
from bundle.inference.packages.wrapper import PackagedNetwork, rows_and_columns

#: of every file in an archive: the same content gives the same bytes
_DATE = (1980, 1, 1, 0, 0, 0)


def archive(files: Mapping[str, bytes], compressed: bool = True) -> bytes:
    """A zip of these files; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as packed:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = packed.compression
            packed.writestr(entry, content)
    return buffer.getvalue()


def torchscript(network: PackagedNetwork) -> bytes:
    """As ``torch.jit.load`` reads it. What is left out, ``.debug_pkl``, has the paths of source files."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    with zipfile.ZipFile(buffer) as saved:
        kept = {name: saved.read(name) for name in saved.namelist() if not name.endswith(".debug_pkl")}
    return archive(kept, compressed=False)


def state_dict(network: PackagedNetwork) -> bytes:
    """As ``torch.load`` reads it, weights only."""
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.getvalue()


def onnx_weights(network: PackagedNetwork, image: torch.Tensor) -> tuple[bytes, int]:
    """An ONNX model for any batch and any sides that are multiples of the steps, and its opset.

    Args:
        network: in evaluation mode.
        image: BCHW to trace it with, of two images.
    """
    import onnx

    batch, sides = torch.export.Dim("batch", min=1), ("rows", "columns")
    axes = rows_and_columns(network.network)
    shapes = {
        number: axis.step * torch.export.Dim(side, min=(2 * axis.halo) // axis.step + 1)
        for number, (axis, side) in enumerate(zip(axes, sides, strict=True), start=2)
    }
    model = onnx.load_model_from_string(onnx_model(network, image, ({0: batch, **shapes},)))
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")  # where each node stands in whose files
    (opset,) = (known.version for known in model.opset_import if known.domain == "")
    return model.SerializeToString(), opset
