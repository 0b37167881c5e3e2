"""What the other systems of our sources have in common: zero padding, blocks of 3x3 convolutions, one geometry."""

from __future__ import annotations

import copy
import math
from typing import Any, TypeVar

import torch
from monai.networks.layers.factories import Conv, Norm, Pool
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bundle.geometry import Geometry, PaddedGeometry
from bundle.networks.arguments import require_counts

__all__ = ["PaddedNetwork", "convolutions"]

_Network = TypeVar("_Network", bound="PaddedNetwork")


class PaddedNetwork(nn.Module):
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
        geometry: sizes that go in and come out.
        depth, padding, step: numbers and text that TorchScript keeps and the inferer reads.

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
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}")
        require_counts(in_channels=in_channels, out_channels=out_channels, base_channels=base_channels)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout!r}; none is 0")
        if norm not in (None, "batch"):
            raise ValueError(f"norm must be None or 'batch', got {norm!r}")
        self.geometry: Geometry = PaddedGeometry(2**depth)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.depth = depth
        self.padding = "same"
        self.step = self.geometry.step
        self.size_rule = self.geometry.rule
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2, stride=2)

    def reset_parameters(self) -> None:
        """Draw all weights anew: Gaussian with std sqrt(2 / N) as those of our U-Net, biases 0.

        N is the number of incoming nodes of one neuron: of a transposed convolution of kernel k and stride s each
        output pixel sees k / s taps along an axis.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                incoming: float = module.in_channels * math.prod(module.kernel_size)
            elif isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
                incoming = module.in_channels * math.prod(module.kernel_size) / math.prod(module.stride)
            else:
                continue
            nn.init.normal_(module.weight, std=math.sqrt(2 / incoming))
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def fold_batch_norm(self: _Network) -> _Network:
        """A copy in evaluation mode with every batch normalisation merged into the convolution before it.

        The same function with fewer operations: equal outputs up to rounding.
        """
        folded = copy.deepcopy(self).eval()
        for block in folded.modules():
            if isinstance(block, nn.Sequential):
                for index, layer in enumerate(block):
                    if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
                        before: Any = block[index - 1]
                        block[index - 1] = fuse_conv_bn_eval(before, layer, isinstance(before, _TRANSPOSED))
                        block[index] = nn.Identity()
        return folded

    def _check_input(self, x: torch.Tensor) -> None:
        if x.dim() != self.spatial_dims + 2:
            raise ValueError(
                f"input must have {self.spatial_dims + 2} axes (batch, channel and {self.spatial_dims} spatial), "
                f"got {x.dim()}: {list(x.shape)}"
            )
        if x.shape[1] != self.in_channels:
            raise ValueError(f"input must have in_channels = {self.in_channels} channels, got {x.shape[1]}")
        for n in x.shape[2:]:
            if n < self.step or n % self.step != 0:
                # what Geometry.require_valid says, in the words of TorchScript
                below = max(self.step, n - n % self.step)
                raise ValueError(
                    f"input size {n} px is not valid {self.size_rule}; the nearest are {below} and {below + self.step}"
                )


_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


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
