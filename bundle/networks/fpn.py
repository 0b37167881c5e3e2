"""A feature pyramid on the trunk of VGG-16: the coarse levels hand their context down to the fine ones."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import nn
from torch.nn import functional as F

from bundle.networks.arguments import require_counts
from bundle.networks.padded import TRUNK, PaddedNetwork, convolutions


class FPN(PaddedNetwork):
    """The trunk of :class:`bundle.networks.MultiLevel` with the head of a feature pyramid network, in 2D or 3D.

    A 1x1 convolution brings every level of the trunk to the same number of channels. From the coarsest on, each map is
    up-sampled by the nearest pixel and added to that of the next finer level, and a 3x3 convolution follows. The
    classes are scored at every level of this pyramid by a 1x1 convolution, and the scores are up-sampled linearly and
    added.

    Source: T.-Y. Lin, P. Dollar, R. Girshick, K. He, B. Hariharan, S. Belongie, Feature Pyramid Networks for Object
    Detection, CVPR 2017; for every pixel as in A. Kirillov, R. Girshick, K. He, P. Dollar, Panoptic Feature Pyramid
    Networks, CVPR 2019.

    Args:
        spatial_dims: 2 or 3. The papers have 2.
        in_channels: channels of the image, at least 1.
        out_channels: number of classes, at least 1.
        base_channels: channels of the trunk's first level; 2, 4, 8 and 8 times as many in the others. VGG's are 64.
        pyramid_channels: of each level of the pyramid; None: 4 times ``base_channels``, the paper's 256 for 64.
        dropout: probability in [0, 1), after the last ReLU of the trunk.
        norm: None or "batch": batch normalisation before each ReLU.

    Shape:
        input: BCHW[D], each spatial size a multiple of 16 px.
        output: BNHW[D] logits.

    Raises:
        ValueError: for arguments outside what is allowed, and in ``forward`` for an invalid size (naming the two
            nearest valid ones) or a wrong number of channels or axes.

    Note:
        The papers have a residual trunk that was trained on ImageNet, whose finest level is a quarter of the image.
        Kirillov et al. up-sample features by convolutions in steps of two and classify their sum; here the scores of
        the levels are up-sampled and added, as :class:`bundle.networks.MultiLevel` does, so that the two differ in the
        pyramid alone.

    Examples:
        >>> FPN(2, in_channels=1, out_channels=2, base_channels=2).eval()(torch.zeros(1, 1, 32, 48)).shape
        torch.Size([1, 2, 32, 48])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        base_channels: int = 64,
        pyramid_channels: int | None = None,
        dropout: float = 0.5,
        norm: str | None = None,
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, base_channels, len(TRUNK) - 1, dropout, norm)
        pyramid = 4 * base_channels if pyramid_channels is None else pyramid_channels
        require_counts(pyramid_channels=pyramid)
        conv = Conv[Conv.CONV, spatial_dims]
        self.laterals, self.heads = nn.ModuleList(), nn.ModuleList()
        for level, (_, factor) in enumerate(TRUNK):
            self.laterals.append(conv(factor * base_channels, pyramid, kernel_size=1))
            score = conv(pyramid, out_channels, kernel_size=1, bias=level == 0)  # one bias is enough for the sum
            self.heads.append(nn.Sequential(*convolutions(spatial_dims, pyramid, pyramid, 1, norm), score))
        self.drop = nn.Dropout(dropout)
        self.reset_parameters()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._check_input(x)
        size = x.shape[2:]
        levels = self._levels(x)
        pyramid: list[torch.Tensor] = []
        for level, lateral in enumerate(self.laterals):
            pyramid.append(lateral(levels[level]))
        for level in range(self.depth - 1, -1, -1):
            pyramid[level] = pyramid[level] + F.interpolate(pyramid[level + 1], scale_factor=2.0, mode="nearest")
        logits = torch.zeros(1, dtype=x.dtype, device=x.device)
        for level, head in enumerate(self.heads):
            logits = logits + F.interpolate(head(pyramid[level]), size=size, mode=self.linear, align_corners=False)
        return logits
