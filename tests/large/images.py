"""Tiny networks and images, segmented block by block without a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from torch import nn

from bundle.inference.backends import Predictors
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.large import LargeImages
from bundle.model import TrainedNetwork, checkpoints
from bundle.networks import UNet

TILE = 84


def write_network(path: Path, channels: int = 1, spatial_dims: int = 2, classes: int = 2) -> Path:
    torch.manual_seed(0)
    network = UNet(spatial_dims, channels, classes, base_channels=3, depth=2 if spatial_dims == 2 else 1)
    last = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Conv3d))][-1]
    with torch.no_grad():  # of noise, half of the pixels are cell, more or less surely
        side = network.geometry.input_size(40)
        logits = network(torch.randn(1, channels, *[side] * spatial_dims))
        last.weight *= 4 / (logits[:, 1] - logits[:, 0]).std()
        logits = network(torch.randn(1, channels, *[side] * spatial_dims))
        last.bias[1] -= (logits[:, 1] - logits[:, 0]).mean()
    checkpoints.write(path, network.state_dict())
    return path


def large(paths: Any, out: Path, model: Path, tile_size: Any = TILE, **options: Any) -> LargeImages:
    """As ``configs/inference.json`` makes it."""
    trained = TrainedNetwork(model)
    paths = [str(path) for path in (paths if isinstance(paths, list) else [paths])]
    inferer = OverlapTileInferer(tile_size, precision="fp32", probability_of=1, tta=options.pop("tta", "none"))
    channels = trained.channels(options.pop("channels", None))
    predictors = options.pop("predictors", Predictors(trained.build(), "eager"))
    return LargeImages(paths, out, trained, predictors, inferer, channels, **options)


def probability(out: Path, name: str) -> np.ndarray:
    """(x, y[, slices]), as stored."""
    return np.asarray(zarr.open_group(out / f"{name}_segmentation.ome.zarr", mode="r")["0"][:]).T


def cells(out: Path, name: str) -> np.ndarray:
    """(x, y[, slices])."""
    return np.asarray(zarr.open_group(out / f"{name}_segmentation.ome.zarr", mode="r")["labels/cells/0"][:]).T


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
