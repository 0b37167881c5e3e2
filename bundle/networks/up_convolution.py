"""Up-convolutions that are trained at the speed of a matrix product."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class UpConvolution2d(nn.ConvTranspose2d):
    """A transposed convolution in 2D whose stride is its kernel, so that no two input pixels reach one output pixel.

    It is one matrix product of all pixels, and in training on a CPU it is computed as one: oneDNN needs up to twice as
    long for forward and backward pass of the convolution, most of it for the gradient of the weights. Weights,
    their names and, up to rounding, all values are those of the base class.

    Args:
        in_channels, out_channels: at least 1.
        kernel_size: (height, width) of the kernel, and the stride.

    Shape:
        input: BCHW; output: BCHW, ``kernel_size`` times as large.
    """

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        bias = self.bias
        if bias is None or self.kernel_size != self.stride or not self.training or input.device.type != "cpu":
            return F.conv_transpose2d(input, self.weight, bias, self.stride)
        count, channels, height, width = input.shape
        high, wide = self.kernel_size
        # from here on the channels come last, as they lie in memory
        weight = self.weight.permute(2, 3, 1, 0).reshape(-1, channels)
        output = F.linear(input.permute(0, 2, 3, 1), weight, bias.repeat(high * wide))
        output = output.view(count, height, width, high, wide * self.out_channels).transpose(2, 3)
        return output.reshape(count, height * high, width * wide, self.out_channels).permute(0, 3, 1, 2)
