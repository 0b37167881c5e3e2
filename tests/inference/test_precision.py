"""One switch for mixed precision, on CPU too."""

import pytest
import torch

from bundle.inference.precision import MixedPrecisionInferer, resolve_precision
from bundle.networks import UNet


def test_bf16_runs_convolutions_in_bf16_and_returns_fp32():
    network = UNet(2, 1, 2, base_channels=2, depth=1)
    seen = []
    network.classify.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    for precision in ("bf16", "fp32"):
        out = MixedPrecisionInferer(precision)(torch.rand(1, 1, 30, 30), network)
        assert out.dtype == torch.float32
    assert seen == [torch.bfloat16, torch.float32]


def test_gradients_arrive_in_fp32():
    network = UNet(2, 1, 2, base_channels=2, depth=1)
    MixedPrecisionInferer("bf16")(torch.rand(1, 1, 30, 30), network).sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())


def test_auto_is_one_of_the_others():
    assert resolve_precision("auto", "cpu") in ("fp32", "bf16")
    assert resolve_precision("bf16", "cpu") == "bf16"


@pytest.mark.parametrize("precision", ["fp16", "half", ""])
def test_unknown_words(precision):
    with pytest.raises(ValueError, match="precision must be one of auto, fp32, bf16"):
        MixedPrecisionInferer(precision)
