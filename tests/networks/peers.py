"""The padded networks at sizes of a few thousand weights, and their layers written out."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bundle.networks import DCN, FCN, FPN, MultiLevel
from bundle.networks.padded import PaddedNetwork

#: name -> (class, arguments)
PEERS = {
    "dcn": (DCN, {"base_channels": 3}),
    "dcn without F3": (DCN, {"base_channels": 3, "branches": (True, True, False)}),
    "fcn32s": (FCN, {"base_channels": 1, "stride": 32}),
    "fcn16s": (FCN, {"base_channels": 1, "stride": 16}),
    "fcn8s": (FCN, {"base_channels": 1, "stride": 8}),
    "fpn": (FPN, {"base_channels": 2}),
    "multilevel": (MultiLevel, {"base_channels": 2}),
    "multilevel of two": (MultiLevel, {"base_channels": 2, "levels": (0, 2)}),
}

Weights = dict[str, torch.Tensor]


def peer(name: str, **arguments) -> PaddedNetwork:
    """In evaluation mode, with running statistics unlike the initial ones if it has any."""
    kind, own = PEERS[name]
    torch.manual_seed(0)
    network = kind(**({"spatial_dims": 2, "in_channels": 1, "out_channels": 2} | own | arguments))
    for _ in range(3):
        network(torch.randn(2, network.in_channels, *[2 * network.step] * network.spatial_dims) * 3 + 1)
    return network.eval()


def group(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    """Every convolution of a group with zeros around, its batch normalisation if there is one, ReLU."""
    dims = x.dim() - 2
    index = 0
    while f"{name}.{index}.weight" in weights:
        kernel = weights[f"{name}.{index}.weight"]
        padded = F.pad(x, [kernel.shape[-1] // 2] * 2 * dims)
        x = (F.conv2d, F.conv3d)[dims - 2](padded, kernel, weights[f"{name}.{index}.bias"])
        if f"{name}.{index + 1}.running_mean" in weights:
            x = normalised(x, weights, f"{name}.{index + 1}")
            index += 1
        x = x.clamp(min=0)
        index += 2
    return x


def normalised(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    column = [weights[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
    mean, variance, scale, shift = (values.view(-1, *[1] * (x.dim() - 2)) for values in column)
    return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift


def spread(x: torch.Tensor, kernel: torch.Tensor, stride: int) -> torch.Tensor:
    """A transposed convolution of a BCHW map, tap by tap: each input pixel lays the kernel down around its place.

    The kernel's middle lies on the middle of the ``stride`` x ``stride`` output pixels that the input pixel covers.
    """
    size, (rows, columns) = kernel.shape[-1], x.shape[2:]
    canvas = x.new_zeros(x.shape[0], kernel.shape[1], rows * stride + size, columns * stride + size)
    for row in range(rows):
        for column in range(columns):
            laid = torch.einsum("bc,cnij->bnij", x[:, :, row, column], kernel)
            canvas[:, :, row * stride : row * stride + size, column * stride : column * stride + size] += laid
    border = (size - stride) // 2
    return canvas[:, :, border : border + rows * stride, border : border + columns * stride]
