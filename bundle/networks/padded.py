"""What the other systems of our sources have in common: zero padding, blocks of 3x3 convolutions, one geometry."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv, Norm, Pool
from torch import nn

from bundle.geometry import PaddedGeometry
from bundle.networks.arguments import require_counts, require_dropout, require_spatial_dims
from bundle.networks.sized import SizedNetwork

#: convolutions of each level of VGG-16, and its channels in multiples of the first one's
TRUNK = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))


class PaddedNetwork(SizedNetwork):
    """Base of the networks whose output is as large as their input.

    What is predicted near the edge of a tile depends on the zeros around it, so that the inferer gives such a network
    a whole image at once, see :class:`bundle.geometry.PaddedGeometry`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image, at least 1.
        out_channels: number of classes, at least 1.
        base_channels: channels of the first level, at least 1.
        depth: number of 2x2 max-poolings; the input is a multiple of 2^depth px.
        dropout: probability in [0, 1).
        norm: None or "batch".

    Attributes:
        depth: as given.
        trunk: the levels of VGG-16 that so many poolings leave, the finest first.
        padding: a text, which TorchScript keeps: :func:`bundle.geometry.geometry_of` reads it and ``step``.

    Raises:
        ValueError: for arguments outside what is allowed.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        base_channels: int,
        depth: int,
        dropout: float,
        norm: str | None,
    ) -> None:
        require_spatial_dims(spatial_dims)
        require_counts(in_channels=in_channels, out_channels=out_channels, base_channels=base_channels)
        require_dropout(dropout)
        if norm not in (None, "batch"):
            raise ValueError(f"norm must be None or 'batch', got {norm!r}")
        super().__init__(spatial_dims, in_channels, PaddedGeometry(2**depth))
        self.depth = depth
        self.padding = "same"
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2, stride=2)
        self.trunk = nn.ModuleList()
        before = in_channels
        for count, factor in TRUNK[: depth + 1]:
            self.trunk.append(convolutions(spatial_dims, before, factor * base_channels, count, norm))
            before = factor * base_channels

    def _levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The map of each level of a network that has ``drop``, the finest first."""
        levels: list[torch.Tensor] = []
        for level, block in enumerate(self.trunk):
            x = block(self.pool(x) if level > 0 else x)
            if level == self.depth:
                x = self.drop(x)  # type: ignore[operator]
            levels.append(x)
        return levels


def convolutions(
    spatial_dims: int, before: int, width: int, count: int = 1, norm: str | None = None, kernel_size: int = 3
) -> nn.Sequential:
    """(convolution that keeps the size, normalisation, ReLU) ``count`` times: from ``before`` to ``width`` channels."""
    layers: list[nn.Module] = []
    for _ in range(count):
        layers.append(Conv[Conv.CONV, spatial_dims](before, width, kernel_size, padding=kernel_size // 2))
        if norm == "batch":
            layers.append(Norm[Norm.BATCH, spatial_dims](width))
        layers.append(nn.ReLU(inplace=True))
        before = width
    return nn.Sequential(*layers)
