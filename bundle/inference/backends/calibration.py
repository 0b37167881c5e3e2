"""A network in 8 bit integers, made by NNCF: post-training quantisation, with ranges from a few tiles."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from torch import nn

from bundle.geometry import geometry_of
from bundle.inference.backends.network import BackendNetwork
from bundle.inference.backends.runtimes import BACKENDS, import_openvino, quiet
from bundle.model.int8_file import Int8Network, digest_of


def require_nncf() -> None:
    """Check that what makes int8 networks is installed; computing them needs OpenVINO alone.

    Raises:
        RuntimeError: naming what is missing and how to install it.
    """
    if missing := [name for name in ("openvino", "nncf") if find_spec(name) is None]:
        raise RuntimeError(
            f"calibrating needs {' and '.join(missing)}, not installed here: "
            'pip install -c constraints.txt -e ".[int8]"'
        )


def calibrated(network: nn.Module, tiles: Sequence[torch.Tensor]) -> Int8Network:
    """The network in int8: weights and activations of the convolutions have 8 bits, sums 32, all else fp32.

    A scale for each output channel of a weight is its own largest value; the range of an activation, which need not be
    symmetric, is the mean of what it was on the tiles. Ranges are numbers of the graph: tiles of any size get the same.
    NNCF's fast correction of biases is off: with it the probability of HeLa cells (DIC) was five times as far from
    that in fp32 (0.015 on the mean instead of 0.003).

    Args:
        network: in evaluation mode, on the CPU, in fp32.
        tiles: 1CHW[D], of one size, of images like those that it will see.

    Raises:
        ValueError: without tiles, and when tiles of two sizes do not agree where both tell.
        RuntimeError: as :func:`require_nncf`.
    """
    require_nncf()
    if not tiles:
        raise ValueError("there is no image to calibrate on: give some that train or validate (docs/speed.md)")
    shape = list(tiles[0].shape)
    with quiet("nncf"):
        nncf = import_openvino("nncf")
        graph = BACKENDS["openvino"].convert(network, tiles[0])
        graph.reshape(shape)
        graph = nncf.quantize(
            graph,
            nncf.Dataset([tile.numpy() for tile in tiles]),
            subset_size=len(tiles),
            preset=nncf.QuantizationPreset.MIXED,
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )
    int8 = Int8Network(*_serialised(graph), digest_of(network.state_dict()))
    _require_same_at_other_sizes(network, int8, tiles[0])
    return int8


def _serialised(graph: Any) -> tuple[str, torch.Tensor]:
    """XML, without a record of how and where it was made, and constants."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "graph.xml")
        import_openvino().save_model(graph, path, compress_to_fp16=False)
        tree = ElementTree.parse(path)
        constants = torch.from_numpy(np.fromfile(path.with_suffix(".bin"), np.uint8))
    for record in tree.getroot().findall("rt_info"):
        tree.getroot().remove(record)
    return ElementTree.tostring(tree.getroot(), encoding="unicode"), constants


def _require_same_at_other_sizes(network: nn.Module, int8: Int8Network, tile: torch.Tensor) -> None:
    """The smallest tile in the corner of this one tells the same, or tiles would show seams."""
    geometry = geometry_of(network)
    if not geometry.seamless:
        return
    computed = BackendNetwork(network, "openvino", int8)
    small = [axis.smallest_input + axis.step for axis in geometry.axes(tile.dim() - 2)]
    whole, part = computed(tile), computed(tile[:, :, *(slice(n) for n in small)])
    inner = whole[:, :, *(slice(n) for n in part.shape[2:])]
    if not torch.equal(part, inner):
        raise ValueError(
            f"{type(network).__name__} in int8 does not tell the same in tiles of two sizes (they differ by "
            f"{(part - inner).abs().max():.2g}), so its tiles would have seams: it is not written"
        )
