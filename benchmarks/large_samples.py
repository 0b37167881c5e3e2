"""Large images to measure on, made of blobs that repeat, and a network that finds them without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.stores.ome_zarr import require_zarr
from bundle.networks import UNet

#: a program that segments; its argument are entries of configs/inference.json as JSON
INFERENCE = """
import json, sys
from monai.bundle import ConfigWorkflow
flow = ConfigWorkflow("configs/inference.json", workflow_type="infer", logging_file=False, **json.loads(sys.argv[1]))
flow.initialize()
flow.run()
"""


def blobs() -> NDArray[np.uint8]:
    """1000 x 1000 px that go on at the opposite edge."""
    block = ndimage.gaussian_filter(np.random.RandomState(0).randn(1000, 1000), 6, mode="wrap")
    return np.clip(127 + 60 * block / block.std(), 0, 255).astype(np.uint8)


def new_ome_zarr(path: Path, side: int, chunk: int, dtype: str = "uint8") -> Any:
    """The array, to be filled, of an OME-Zarr 0.5 of ``side`` x ``side`` px in chunks of ``chunk`` x ``chunk``."""
    group = require_zarr().open_group(path, mode="w")
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scales = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
    return group.create_array("0", shape=(side, side), chunks=(chunk, chunk), dtype=dtype)


def small_network(depth: int = 4) -> UNet:
    """Of width 4; bright pixels are cells: what comes out needs no training."""
    network = UNet(2, 1, 2, base_channels=4, depth=depth)
    for parameter in network.parameters():
        parameter.data.mul_(0.01)
    first, last = network.down[0], network.merge[-1]
    for block, channel in ((first, 0), (last, 4)):
        convolutions = [layer for layer in block.modules() if isinstance(layer, torch.nn.Conv2d)]
        for convolution, (one, other) in zip(convolutions, ((channel, channel + 1), (0, 1)), strict=True):
            convolution.weight.data.zero_()
            begins = block is first and convolution is convolutions[0]
            convolution.weight.data[0, 0 if begins else one, 1, 1] = 1
            convolution.weight.data[1, 0 if begins else other, 1, 1] = -1 if begins else 1
    network.classify.weight.data.zero_()
    network.classify.weight.data[1, :2, 0, 0] = torch.tensor([3.0, -3.0])
    return network
