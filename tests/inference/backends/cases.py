"""Small networks, images, and how far two outputs differ."""

from __future__ import annotations

import pytest
import torch

from bundle.inference.backends import BACKENDS
from bundle.networks import UNet

#: largest difference from eager fp32, over the largest logit
TOLERANCE = {"fp32": 1e-5, "bf16": 0.05}


def needs(backend: str) -> None:
    if missing := BACKENDS[backend].missing():
        pytest.skip(f"{', '.join(missing)} not installed")


def unet(spatial_dims=2, norm: str | None = "batch", seed=0) -> UNet:
    torch.manual_seed(seed)
    # torch.compile writes 8 numbers or fewer into its program: more channels, and all tests share its compiled parts
    network = UNet(spatial_dims, 1, 2, base_channels=12, depth=1, norm=norm)
    # statistics and affine maps unlike the initial ones, which folding would leave the weights alone with
    network(torch.randn(4, 1, *[network.geometry.smallest_input + 4] * spatial_dims) * 2 + 1)
    for name, parameter in network.named_parameters():
        if name.endswith("bias") and name != "classify.bias":
            torch.nn.init.normal_(parameter)
    return network.eval()


def picture(*size: int) -> torch.Tensor:
    return torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(1))


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()
