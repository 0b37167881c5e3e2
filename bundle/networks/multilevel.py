"""A classifier of pixels on the features of several levels at once, in the style of hypercolumns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn
from torch.nn import functional as F

from bundle.networks.arguments import sequence_of
from bundle.networks.padded import TRUNK, PaddedNetwork


class MultiLevel(PaddedNetwork):
    """A VGG-16 trunk whose levels are up-sampled, concatenated and classified by one 1x1 convolution, in 2D or 3D.

    A 1x1 convolution of concatenated maps is the sum of one for each map, and exchanges with linear interpolation. So
    each level is classified at its own size and its scores are up-sampled: the same function, without 1472 channels
    at the size of the image.

    Source: B. Hariharan, P. Arbelaez, R. Girshick, J. Malik, Hypercolumns for Object Segmentation and Fine-grained
    Localization, CVPR 2015.

    Args:
        spatial_dims: 2 or 3. The paper has 2.
        in_channels: channels of the image, at least 1.
        out_channels: number of classes, at least 1.
        base_channels: channels of the first level; 2, 4, 8 and 8 times as many in the others. VGG's are 64.
        levels: which levels the classifier sees, of 0 (the image's size) to 4 (a 16th of it). The trunk ends with the
            last one, and so the step.
        dropout: probability in [0, 1), after the last ReLU of the trunk.
        norm: None or "batch": batch normalisation before each ReLU.

    Shape:
        input: BCHW[D], each spatial size a multiple of 16 px (of 2^n where n is the last level).
        output: BNHW[D] logits.

    Raises:
        ValueError: for arguments outside what is allowed, and in ``forward`` for an invalid size (naming the two
            nearest valid ones) or a wrong number of channels or axes.

    Note:
        The paper classifies within the boxes of a detector, by a grid of classifiers that depend on the place in the
        box, and starts from weights trained on ImageNet. Here one classifier serves all pixels, and everything is
        trained at once from scratch; the levels are the last maps of VGG-16's five groups.

    Examples:
        >>> MultiLevel(2, in_channels=1, out_channels=2, base_channels=2).eval()(torch.zeros(1, 1, 32, 48)).shape
        torch.Size([1, 2, 32, 48])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        base_channels: int = 64,
        levels: Sequence[int] = (0, 1, 2, 3, 4),
        dropout: float = 0.5,
        norm: str | None = None,
    ) -> None:
        given, known = sequence_of(levels), range(len(TRUNK))
        whole = [level for level in given if isinstance(level, int) and not isinstance(level, bool)]
        allowed = sorted({min(max(level, known[0]), known[-1]) for level in whole})
        if not given or allowed != given:
            nearest = f"; the nearest are {allowed}" if allowed else ""
            raise ValueError(f"levels must be one or more of 0, 1, 2, 3 and 4, in this order, got {levels!r}{nearest}")
        super().__init__(spatial_dims, in_channels, out_channels, base_channels, levels[-1], dropout, norm)
        self.scores = nn.ModuleDict()
        for level in levels:
            width = TRUNK[level][1] * base_channels
            # one bias is enough for the sum
            score = Conv[Conv.CONV, spatial_dims](width, out_channels, kernel_size=1, bias=level == levels[0])
            self.scores[str(level)] = score
        self.drop = nn.Dropout(dropout)
        self.reset_parameters()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._check_input(x)
        size = x.shape[2:]
        levels = self._levels(x)
        logits = torch.zeros(1, dtype=x.dtype, device=x.device)
        for name, score in self.scores.items():
            logits = logits + F.interpolate(score(levels[int(name)]), size=size, mode=self.linear, align_corners=False)
        return logits
