"""The U-Net of Ronneberger, Fischer and Brox (2015): valid convolutions, 23 convolution layers, 572 -> 388.

The networks called U-Net in MONAI pad their convolutions. Here nothing is padded: every output pixel sees real
context only, which is what makes the overlap-tile of :mod:`bundle.inference.overlap_tile` exact. The same network
with padded convolutions is there as the control.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bundle.geometry import PaddedGeometry, ValidGeometry, per_axis
from bundle.networks.arguments import (
    require_counts,
    require_dropout,
    require_spatial_dims,
    require_switch,
    sequence_of,
)
from bundle.networks.sized import SizedNetwork
from bundle.networks.up_convolution import UpConvolution2d

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_UP = {2: UpConvolution2d, 3: nn.ConvTranspose3d}
_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class UNet(SizedNetwork):
    """U-Net with valid 3x3 convolutions, in 2D or 3D; with same padding as a control.

    Each level is (convolution, ReLU) twice, then a 2x2 max-pooling on the way down; on the way up a 2x2
    transposed convolution of stride 2 and the concatenation [upsampled, centre-cropped skip]. The last layer is
    a 1x1 convolution; its output are logits, no softmax.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image, at least 1.
        out_channels: number of classes, at least 1.
        base_channels: channels of the first level, doubled at each further one. The paper's is 64.
        depth: number of poolings. The paper's is 4.
        dropout: probability in [0, 1), applied after the last ReLU of the lowest contracting block (before its
            pooling, so that the skip carries it too) and of the bottleneck: "at the end of the contracting path"
            in the paper, at these two places in the authors' release.
        norm: None (the paper) or "batch": batch normalisation between each 3x3 convolution and its ReLU. In
            evaluation mode it is a fixed affine map that :meth:`fold_batch_norm` merges into the convolutions.
        up_relu: a ReLU after each up-convolution, as in the authors' release; the paper's figure has none.
        wide_last_up: the last up-convolution keeps its number of channels (128 -> 128 at the defaults), as in
            the authors' release; in the paper each one halves them.
        padding: "valid" (the paper), or "same": zeros around the input of every 3x3 convolution keep its size, skips
            are not cropped, and the weights are as many. Predictions then depend on where a tile ends, so that the
            inferer refuses to tile. Weights alone do not tell the two apart: a buffer ``same_padding`` marks the
            checkpoints of the second.
        flat_levels: for every axis, the number of upper levels at which kernels and poolings along it are 1, for images
            whose spacing differs from axis to axis (:func:`bundle.geometry.flat_levels`): 0 .. ``depth`` + 1, and 0
            along one axis at least. None is 0 along all.
        deep_supervision: in training a 1x1 convolution classifies each coarser level of the way up, too, for
            :class:`bundle.training.auxiliary_loss.AuxiliaryLoss` (Lee et al., Deeply-supervised nets, AISTATS 2015).
            In evaluation they are not used.

    Shape:
        input: BCHW[D], each spatial size valid for ``geometry`` (188 + 16 k px at depth 4; with same padding 16 k).
        output: BNHW[D] logits, smaller than the input by ``2 * margin`` px along every axis (92 px a side at depth 4;
            with same padding 0). In training with ``deep_supervision`` BKNHW[D], K = ``depth``: the logits, then those
            of the coarser levels, from the coarsest on, enlarged (bi- or trilinearly) to the same pixels.

    Raises:
        ValueError: for arguments outside what is allowed, and in ``forward`` for an invalid size (naming the two
            nearest valid ones) or a wrong number of channels or axes.

    Note:
        Weights are Gaussian with std sqrt(2 / N), biases 0 (section 3 of the paper). N is the number of incoming
        nodes of one neuron: kernel size times ``in_channels`` for a convolution, and ``in_channels`` for a 2x2
        up-convolution of stride 2, each of whose outputs sees one tap (the release counted 4 * out_channels).

    Examples:
        >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2)
        >>> network.geometry.output_size(572)
        388
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        base_channels: int = 64,
        depth: int = 4,
        dropout: float = 0.5,
        norm: str | None = None,
        up_relu: bool = False,
        wide_last_up: bool = False,
        padding: str = "valid",
        flat_levels: Sequence[int] | None = None,
        deep_supervision: bool = False,
    ) -> None:
        require_spatial_dims(spatial_dims)
        require_counts(in_channels=in_channels, out_channels=out_channels, base_channels=base_channels)
        require_dropout(dropout)
        require_switch("deep_supervision", deep_supervision)
        _require_tile_exact(norm)
        if padding not in ("valid", "same"):
            raise ValueError(f"padding must be 'valid' (the paper's) or 'same', got {padding!r}")
        valid = [ValidGeometry(depth, flat) for flat in _require_flat_levels(flat_levels, spatial_dims, depth)]
        each = valid if padding == "valid" else [PaddedGeometry(axis.step) for axis in valid]
        super().__init__(spatial_dims, in_channels, per_axis(each))
        # numbers and text, which TorchScript keeps
        self.depth = depth
        self.padding = padding
        self.deep_supervision = deep_supervision
        self.flat_levels = [axis.flat_levels for axis in valid]
        if padding == "same":
            self.register_buffer("same_padding", torch.tensor(True))

        channels = [base_channels * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList()
        for level, width in enumerate(channels):
            before = in_channels if level == 0 else channels[level - 1]
            drop = dropout if level >= depth - 1 else 0.0
            self.down.append(_block(before, width, self._kernel(level, 3), padding, norm, drop))
        self.pools = nn.ModuleList([_POOL[spatial_dims](self._kernel(level, 2)) for level in range(depth)])
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for level in reversed(range(depth)):
            stride = self._kernel(level, 2)
            below, width = channels[level + 1], channels[level]
            risen = below if wide_last_up and level == 0 else width
            up: nn.Module = _UP[spatial_dims](below, risen, kernel_size=stride, stride=stride)  # type: ignore[arg-type]
            self.up.append(nn.Sequential(up, nn.ReLU(inplace=True)) if up_relu else up)
            self.merge.append(_block(risen + width, width, self._kernel(level, 3), padding, norm, 0.0))
        self.classify = _CONV[spatial_dims](base_channels, out_channels, kernel_size=1)
        coarser = channels[depth - 1 : 0 : -1] if deep_supervision else []
        self.classify_coarser = nn.ModuleList([_CONV[spatial_dims](n, out_channels, kernel_size=1) for n in coarser])
        self.reset_parameters()

    def _kernel(self, level: int, size: int) -> tuple[int, ...]:
        """Size of a kernel or pooling at a level: 1 along the axes that are flat there."""
        return tuple(1 if level < flat else size for flat in self.flat_levels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._check_input(x)
        skips: list[torch.Tensor] = []
        for block, pool in zip(self.down, self.pools):  # noqa: B905 - TorchScript knows no strict=
            x = block(x)
            skips.append(x)
            x = pool(x)
        x = self.down[-1](x)
        levels: list[torch.Tensor] = []
        for up, merge in zip(self.up, self.merge):  # noqa: B905 - TorchScript knows no strict=
            x = up(x)
            skip = skips.pop()
            if self.padding == "valid":
                skip = _centre_crop(skip, x, self.training)
            x = merge(torch.cat([x, skip], dim=1))
            levels.append(x)
        logits: torch.Tensor = self.classify(x)
        if self.training and self.deep_supervision:
            return torch.stack(self._with_coarser(logits, levels), dim=1)
        return logits

    def _with_coarser(self, logits: torch.Tensor, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        """The logits, and those of each coarser level at their pixels: the convolutions that follow cut its edge."""
        maps = [logits]
        for index, classify in enumerate(self.classify_coarser):
            coarse = classify(levels[index])
            size: list[int] = []
            for axis, flat in enumerate(self.flat_levels):
                size.append(coarse.shape[axis + 2] << max(0, self.depth - 1 - index - flat))
            maps.append(_centre_crop(F.interpolate(coarse, size, mode=self.linear), logits, True))
        return maps


def _require_tile_exact(norm: str | None) -> None:
    if norm in (None, "batch"):
        return
    if norm in ("instance", "group", "layer"):
        raise ValueError(
            f"norm {norm!r} is refused: it depends on the content of the tile, so tiles would no longer equal one "
            "pass over the whole image; allowed are None and 'batch' (running statistics at inference)"
        )
    raise ValueError(f"norm must be None or 'batch', got {norm!r}")


def _require_flat_levels(flat_levels: Sequence[int] | None, spatial_dims: int, depth: int) -> list[int]:
    levels = [0] * spatial_dims if flat_levels is None else sequence_of(flat_levels)
    if len(levels) != spatial_dims or 0 not in levels:
        raise ValueError(
            f"flat_levels must be a number of levels for each of the {spatial_dims} axes, 0 for one at least, "
            f"got {flat_levels!r}"
        )
    return levels


def _block(
    before: int, width: int, kernel: Sequence[int], padding: str, norm: str | None, dropout: float
) -> nn.Sequential:
    """(convolution, normalisation, ReLU) twice, then dropout; with same padding as many zeros as keep the size."""
    layers: list[nn.Module] = []
    dims = len(kernel)
    border = tuple(size // 2 if padding == "same" else 0 for size in kernel)
    for channels in (before, width):
        layers.append(_CONV[dims](channels, width, kernel_size=tuple(kernel), padding=border))  # type: ignore[arg-type]
        if norm == "batch":
            layers.append(_BATCH_NORM[dims](width))
        layers.append(nn.ReLU(inplace=True))
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def _centre_crop(skip: torch.Tensor, to: torch.Tensor, training: bool) -> torch.Tensor:
    if training:
        # a copy, but its gradient keeps the memory format: that of a view does not, and all that follows it slows down
        # (a step at base 16 takes 0.8 of the time)
        pads: list[int] = []
        for axis in range(skip.dim() - 1, 1, -1):
            surplus = skip.shape[axis] - to.shape[axis]
            pads += [-(surplus // 2), surplus // 2 - surplus]
        return F.pad(skip, pads)
    for axis in range(2, skip.dim()):
        size = to.shape[axis]
        skip = skip.narrow(axis, (skip.shape[axis] - size) // 2, size)
    return skip
