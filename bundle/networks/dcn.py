"""The deep contextual network of Chen et al. (2016), whose branches' score maps can be looked at one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import nn

from bundle.networks.arguments import require_switch, sequence_of
from bundle.networks.padded import TRUNK, PaddedNetwork

STRIDES = (2, 4, 8)


class DCN(PaddedNetwork):
    """Deep contextual network: a VGG-like trunk and three branches whose scores are added, in 2D or 3D.

    The trunk has 64 x 2, 128 x 2, 256 x 3 and 512 x 3 convolutions of 3x3 with a max-pooling after each of the first
    three groups. Each group after a pooling has a branch: a transposed convolution that brings its map back to the
    input's size, and a 1x1 convolution that scores the classes. The sum F1 + F2 + F3 are the logits.

    Source: H. Chen, X. Qi, J.-Z. Cheng, P.-A. Heng, Deep Contextual Networks for Neuronal Structure Segmentation, AAAI
    2016; kernels of the branches, batch normalisation and removal of branches: Takaya et al. 2018.

    Args:
        spatial_dims: 2 or 3. The papers have 2.
        in_channels: channels of the image, at least 1.
        out_channels: number of classes, at least 1.
        base_channels: channels of the first group, doubled at each further one. The paper's is 64.
        kernels: of the three transposed convolutions in px, at strides 2, 4 and 8. Each is its stride or larger by
            an even number.
        branches: which of the three exist. The trunk ends with the group of the last one, and so the step.
        dropout: probability in [0, 1), after the last ReLU of the trunk.
        norm: None or "batch": batch normalisation before each ReLU, as Takaya et al. added to read the score maps.
        auxiliary: in training the output has one more axis that holds the logits and then the score maps, for
            :class:`bundle.training.auxiliary_loss.AuxiliaryLoss`. It changes no weight and nothing in evaluation.

    Shape:
        input: BCHW[D], each spatial size a multiple of 8 px (of 2 or 4 without the deepest branches).
        output: BNHW[D] logits; in training with ``auxiliary`` BKNHW[D], K one more than there are branches.

    Raises:
        ValueError: for arguments outside what is allowed, and in ``forward`` for an invalid size (naming the two
            nearest valid ones) or a wrong number of channels or axes.

    Note:
        We did not have the text of the paper: trunk, strides and the sum are from descriptions of it. Ours are the
        ``base_channels`` channels (and the ReLU) between a branch's two layers, that a branch starts from the last map
        of its group, that the auxiliary classifiers are the score maps themselves, dropout and initialisation. The
        paper's refinement by watershed and its fusion of several networks are left out.

    Examples:
        >>> network = DCN(spatial_dims=2, in_channels=1, out_channels=2, base_channels=4).eval()
        >>> f1, f2, f3 = network.scores(torch.zeros(1, 1, 32, 32))
        >>> torch.equal(f1 + f2 + f3, network(torch.zeros(1, 1, 32, 32)))
        True
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        base_channels: int = 64,
        kernels: Sequence[int] = (4, 8, 16),
        branches: Sequence[bool] = (True, True, True),
        dropout: float = 0.5,
        norm: str | None = None,
        auxiliary: bool = False,
    ) -> None:
        _require_kernels(kernels)
        switches = sequence_of(branches)
        if len(switches) != len(STRIDES) or not all(isinstance(there, bool) for there in switches):
            raise ValueError(
                "branches must be three of True and False, for strides 2, 4 and 8, as in [True,True,False], got "
                f"{branches!r}"
            )
        require_switch("auxiliary", auxiliary)
        if not any(branches):
            raise ValueError("branches must keep at least one of the three, got none")
        depth = max(level for level, there in enumerate(branches, start=1) if there)
        super().__init__(spatial_dims, in_channels, out_channels, base_channels, depth, dropout, norm)
        self.auxiliary = auxiliary
        self.branches = nn.ModuleDict()
        for level, (there, kernel, stride) in enumerate(zip(branches, kernels, STRIDES, strict=True), start=1):
            if there:
                width, padding = TRUNK[level][1] * base_channels, (kernel - stride) // 2
                up = Conv[Conv.CONVTRANS, spatial_dims](width, base_channels, kernel, stride=stride, padding=padding)
                normalised = [Norm[Norm.BATCH, spatial_dims](base_channels)] if norm == "batch" else []
                score = Conv[Conv.CONV, spatial_dims](base_channels, out_channels, kernel_size=1)
                self.branches[f"F{level}"] = nn.Sequential(up, *normalised, nn.ReLU(inplace=True), score)
        self.drop = nn.Dropout(dropout)
        self.reset_parameters()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.scores(x)
        logits = scores[0]
        for score in scores[1:]:
            logits = logits + score
        if self.training and self.auxiliary:
            return torch.stack([logits] + scores, dim=1)  # noqa: RUF005 - TorchScript unpacks no list
        return logits

    @torch.jit.export
    def scores(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The score maps of the branches that exist, F1 (fine) to F3 (coarse), each BNHW[D]; their sum are the logits.

        Of an image of any size: ``OverlapTileInferer(geometry=network.geometry)(image, lambda tile:
        torch.cat(network.scores(tile), dim=1))``.
        """
        self._check_input(x)
        levels = self._levels(x)
        scores: list[torch.Tensor] = []
        for name, branch in self.branches.items():
            scores.append(branch(levels[int(name[1:])]))
        return scores


def _require_kernels(kernels: Sequence[int]) -> None:
    if len(sequence_of(kernels)) != len(STRIDES):
        raise ValueError(f"kernels must be three sizes in px, for strides 2, 4 and 8, got {kernels!r}")
    for name, kernel, stride in zip(("F1", "F2", "F3"), kernels, STRIDES, strict=True):
        allowed = f"allowed are {stride}, {stride + 2}, {stride + 4}, ... px"
        if isinstance(kernel, bool) or not isinstance(kernel, int):
            raise ValueError(f"kernels of {name} must be an integer, got {kernel!r}; {allowed}")
        if kernel < stride:
            raise ValueError(
                f"kernels of {name} is {kernel} px, smaller than its stride of {stride}: output pixels between two "
                f"taps would see nothing (holes); {allowed}, the nearest is {stride}"
            )
        if (kernel - stride) % 2:
            raise ValueError(
                f"kernels of {name} is {kernel} px at stride {stride}: the padding ({kernel} - {stride}) / 2 is not a "
                f"whole number, so the map would not come back at the input's size; {allowed}, the nearest are "
                f"{kernel - 1} and {kernel + 1}"
            )
