"""What all images of a command are segmented with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from bundle.cells import CellOptions, FindClassesd
from bundle.data.channels import Channels
from bundle.geometry import Geometry, geometry_of
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.large.executor import Executor
from bundle.large.label_image import KindsOfCells
from bundle.model import TrainedNetwork


@dataclass(frozen=True)
class Settings:
    """See :class:`bundle.large.LargeImages` for each."""

    trained: TrainedNetwork
    predictor: nn.Module
    inferer: OverlapTileInferer
    channels: Channels
    device: torch.device
    find_classes: FindClassesd
    robust: bool
    context_slices: int
    missing: str
    block_size: int | Sequence[int] | None
    dtype: str
    version: str
    cells: CellOptions
    spacing: Sequence[float] | None
    executor: Executor

    @property
    def geometry(self) -> Geometry:
        return self.inferer.geometry or geometry_of(self.predictor)

    @property
    def shown(self) -> int:
        """Channels that the network sees."""
        return (self.channels.count or 1) * (2 * self.context_slices + 1)

    @property
    def axes(self) -> int:
        """Of what the network segments."""
        return getattr(self.predictor, "spatial_dims", None) or 2

    def run(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """What maps a tile to its probability."""
        return self.inferer.runner(self.predictor, self.device)

    def kinds(self) -> KindsOfCells:
        """How cells are read off the stored probability."""
        classes = self.find_classes
        each = classes.options if classes.names and classes.of_pixels else ()
        cells, *others = (replace(one, spatial_dims=self.axes) for one in (self.cells, *each))
        return KindsOfCells(cells, tuple(classes.names or ()), tuple(others))
