"""Tiny networks and images, segmented block by block without a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from bundle.inference.backends import prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.large import LargeImages
from bundle.model import TrainedNetwork, checkpoints
from bundle.networks import UNet

TILE = 84


def write_network(path: Path, channels: int = 1, spatial_dims: int = 2) -> Path:
    torch.manual_seed(0)
    network = UNet(spatial_dims, channels, 2, base_channels=3, depth=2 if spatial_dims == 2 else 1)
    checkpoints.write(path, network.state_dict())
    return path


def large(paths: Any, out: Path, model: Path, tile_size: Any = TILE, **options: Any) -> LargeImages:
    """As ``configs/inference.json`` makes it."""
    trained = TrainedNetwork(model)
    paths = [str(path) for path in (paths if isinstance(paths, list) else [paths])]
    inferer = OverlapTileInferer(tile_size, precision="fp32", probability_of=1, tta=options.pop("tta", "none"))
    channels = trained.channels(options.pop("channels", None))
    return LargeImages(paths, out, trained, prepare_network(trained.build()), inferer, channels, **options)


def probability(out: Path, name: str) -> np.ndarray:
    """(x, y[, slices]), as stored."""
    return np.asarray(zarr.open_group(out / f"{name}_segmentation.ome.zarr", mode="r")["0"][:]).T


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
