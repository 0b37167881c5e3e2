"""The fully convolutional networks FCN-32s, FCN-16s and FCN-8s of Long, Shelhamer and Darrell (2015)."""

from __future__ import annotations

import math

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from bundle.networks.padded import TRUNK, PaddedNetwork, convolutions

#: finest stride whose scores are used -> strides of the up-samplings, from the coarsest on
_UPSAMPLING = {32: (32,), 16: (2, 16), 8: (2, 2, 8)}


class FCN(PaddedNetwork):
    """FCN-32s, -16s or -8s on a VGG-16 trunk, trained from scratch, in 2D or 3D.

    Five groups of 3x3 convolutions, each with a max-pooling after it, then 7x7 and 1x1 convolutions in place of VGG's
    fully connected layers. A 1x1 convolution scores the classes at stride 32. FCN-16s up-samples these scores by 2
    and adds those of the fourth pooling; FCN-8s does so once more with the third. Up-sampling is by transposed
    convolutions that begin as bilinear interpolation; the last one stays that.

    Source: J. Long, E. Shelhamer, T. Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015.

    Args:
        spatial_dims: 2 or 3. The paper has 2.
        in_channels: channels of the image, at least 1.
        out_channels: number of classes, at least 1.
        stride: 32, 16 or 8: of the finest scores that are added up.
        base_channels: channels of the first group; 2, 4, 8 and 8 times as many in the others, 64 times in the two
            layers before the scores. VGG's are 64.
        dropout: probability in [0, 1), after each of these two layers. The paper's is 0.5.
        norm: None (the paper) or "batch": batch normalisation before each ReLU.

    Shape:
        input: BCHW[D], each spatial size a multiple of 32 px.
        output: BNHW[D] logits.

    Raises:
        ValueError: for arguments outside what is allowed, and in ``forward`` for an invalid size (naming the two
            nearest valid ones) or a wrong number of channels or axes.

    Note:
        The paper starts from a trunk trained on ImageNet, and FCN-16s and -8s from the next coarser network; here all
        weights start at random, and each network is trained at once. The paper pads the image by 100 px and crops the
        scores; here every convolution pads by half its kernel, and up-sampled scores fall to half at the very edge (no
        class gains by it). Batch normalisation is not the paper's.

    Examples:
        >>> FCN(2, in_channels=1, out_channels=2, stride=8, base_channels=2).eval()(torch.zeros(1, 1, 64, 96)).shape
        torch.Size([1, 2, 64, 96])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stride: int = 8,
        base_channels: int = 64,
        dropout: float = 0.5,
        norm: str | None = None,
    ) -> None:
        if not isinstance(stride, int) or stride not in _UPSAMPLING:
            numeric = isinstance(stride, (int, float)) and math.isfinite(stride)
            nearest = min(_UPSAMPLING, key=lambda known: abs(known - stride)) if numeric else 8
            raise ValueError(f"stride must be 32, 16 or 8, got {stride!r}; the nearest is {nearest}")
        super().__init__(spatial_dims, in_channels, out_channels, base_channels, len(TRUNK), dropout, norm)
        convolution = Conv[Conv.CONV, spatial_dims]
        wide = 64 * base_channels
        self.head = nn.Sequential(
            convolutions(spatial_dims, TRUNK[-1][1] * base_channels, wide, norm=norm, kernel_size=7),
            nn.Dropout(dropout),
            convolutions(spatial_dims, wide, wide, norm=norm, kernel_size=1),
            nn.Dropout(dropout),
            convolution(wide, out_channels, kernel_size=1),
        )
        *intermediate, last = _UPSAMPLING[stride]
        self.skips = nn.ModuleList()  # scores of the fourth pooling, then of the third
        self.up = nn.ModuleList()
        for level, factor in enumerate(intermediate, start=1):
            width = TRUNK[-1 - level][1] * base_channels
            self.skips.append(convolution(width, out_channels, kernel_size=1))
            self.up.append(_upsampling(spatial_dims, out_channels, factor))
        self.last_up = _upsampling(spatial_dims, out_channels, last).requires_grad_(False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for up in (*self.up, self.last_up):
            channels, _, *size = up.weight.shape
            up.weight.data = bilinear_kernel(channels, size[0], len(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._check_input(x)
        pooled: list[torch.Tensor] = []
        for block in self.trunk:
            x = self.pool(block(x))
            pooled.append(x)
        scores = self.head(x)
        level = len(pooled) - 1
        for up, skip in zip(self.up, self.skips):  # noqa: B905 - TorchScript knows no strict=
            level -= 1
            scores = up(scores) + skip(pooled[level])
        logits: torch.Tensor = self.last_up(scores)
        return logits


def _upsampling(spatial_dims: int, channels: int, stride: int) -> nn.Module:
    convolution: type[nn.Module] = Conv[Conv.CONVTRANS, spatial_dims]
    return convolution(channels, channels, kernel_size=2 * stride, stride=stride, padding=stride // 2, bias=False)


def bilinear_kernel(channels: int, size: int, spatial_dims: int) -> torch.Tensor:
    """Weight of a transposed convolution that interpolates linearly, every channel for itself.

    Args:
        channels: in and out.
        size: of the kernel in px, twice the stride.
        spatial_dims: number of spatial axes.

    Returns:
        CCkk[k], fp32.
    """
    stride = size // 2
    hat = 1 - (torch.arange(size) - (size - 1) / 2).abs() / stride
    kernel = hat
    for _ in range(spatial_dims - 1):
        kernel = kernel.unsqueeze(-1) * hat
    diagonal = torch.eye(channels).reshape(channels, channels, *[1] * spatial_dims)
    return diagonal * kernel
