"""What all networks here have in common: their sizes, the paper's initial weights, folding, the check of an input."""

from __future__ import annotations

import copy
import math
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bundle.geometry import Geometry

_Network = TypeVar("_Network", bound="SizedNetwork")

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


class SizedNetwork(nn.Module):
    """Base of a network that knows which sizes go in and come out.

    Args:
        spatial_dims: number of spatial axes.
        in_channels: channels of the image.
        geometry: its sizes.

    Attributes:
        geometry: for the inferer, the crops and the configs.
        spatial_dims, in_channels, step (the largest), and of every axis steps, smallest_inputs, size_rules: numbers
            and text, which TorchScript keeps.
        linear: torch's name of linear interpolation along so many axes.
    """

    def __init__(self, spatial_dims: int, in_channels: int, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.linear = {2: "bilinear", 3: "trilinear"}[spatial_dims]
        axes = geometry.axes(spatial_dims)
        self.step = max(axis.step for axis in axes)
        self.steps = [axis.step for axis in axes]
        self.smallest_inputs = [axis.smallest_input for axis in axes]
        where = [f" along axis {number}" if len({*axes}) > 1 else "" for number in range(spatial_dims)]
        self.size_rules = [f"px{at} is not valid {axis.rule}" for at, axis in zip(where, axes, strict=True)]

    def reset_parameters(self) -> None:
        """Draw all weights at random: Gaussian with std sqrt(2 / N), biases 0 (section 3 of the U-Net paper).

        N is the number of incoming nodes of one neuron: ``in_channels`` times the size of the kernel, and of a
        transposed convolution of kernel k and stride s the k / s taps that an output pixel sees along each axis.
        """
        for module in self.modules():
            if isinstance(module, _CONVOLUTIONS):
                incoming: float = module.in_channels * math.prod(module.kernel_size)
            elif isinstance(module, _TRANSPOSED):
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
                    if isinstance(layer, _BATCH_NORMS):
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
        for axis, n in enumerate(x.shape[2:]):
            step, smallest = self.steps[axis], self.smallest_inputs[axis]
            if n < smallest or (n - smallest) % step != 0:
                # what Geometry.require_valid says, in the words of TorchScript
                below = max(smallest, n - (n - smallest) % step)
                raise ValueError(f"input size {n} {self.size_rules[axis]}; the nearest are {below} and {below + step}")
