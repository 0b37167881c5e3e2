"""The matrix product of training against torch's transposed convolution."""

import pytest
import torch
from torch import nn

from bundle.networks.up_convolution import UpConvolution2d


def both(kernel: tuple[int, int], dtype: torch.dtype) -> tuple[nn.ConvTranspose2d, UpConvolution2d]:
    torch.manual_seed(0)
    stock = nn.ConvTranspose2d(6, 3, kernel, stride=kernel).to(dtype)
    ours = UpConvolution2d(6, 3, kernel, stride=kernel).to(dtype)
    ours.load_state_dict(stock.state_dict())
    return stock, ours


@pytest.mark.parametrize("kernel", [(2, 2), (1, 2), (2, 1)])
def test_values_and_gradients_are_those_of_a_transposed_convolution(kernel, monkeypatch):
    stock, ours = both(kernel, torch.float64)
    image = torch.randn(2, 6, 5, 7, dtype=torch.float64).to(memory_format=torch.channels_last)
    upstream = torch.randn(2, 3, 5 * kernel[0], 7 * kernel[1], dtype=torch.float64)
    found = []
    for layer in (stock, ours):
        if layer is ours:  # it is not the convolution that answers
            monkeypatch.setattr(torch.nn.functional, "conv_transpose2d", None)
        x = image.clone().requires_grad_()
        output = layer(x)
        output.backward(upstream)
        found.append((output.detach(), x.grad, layer.weight.grad, layer.bias.grad))
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected)
    assert found[1][0].is_contiguous(memory_format=torch.channels_last)


def test_evaluation_is_torchs_own_to_the_bit():
    stock, ours = (layer.eval() for layer in both((2, 2), torch.float32))
    image = torch.randn(1, 6, 5, 7)
    assert torch.equal(ours(image), stock(image))


def test_a_kernel_that_is_not_the_stride_is_torchs_own():
    torch.manual_seed(0)
    overlapping = UpConvolution2d(2, 3, 3, stride=2)
    image = torch.randn(1, 2, 4, 4)
    expected = torch.nn.functional.conv_transpose2d(image, overlapping.weight, overlapping.bias, 2)
    assert torch.equal(overlapping(image), expected)
