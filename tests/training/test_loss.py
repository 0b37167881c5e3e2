"""The loss against eq. (1) written out, and its normalisations against each other."""

import math

import pytest
import torch

from bundle.training.loss import PixelWeightedCrossEntropy


@pytest.fixture
def case():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=g, requires_grad=True)
    target = torch.randint(0, 3, (2, 1, 4, 5), generator=g)
    weight = torch.rand(2, 1, 4, 5, generator=g) * 10
    return logits, target, weight


def literal(logits, target, weight):
    """-sum over pixels of w log(exp(a_l) / sum_k exp(a_k)), in plain Python."""
    total = 0.0
    for b in range(logits.shape[0]):
        for y in range(logits.shape[2]):
            for x in range(logits.shape[3]):
                a = logits[b, :, y, x].tolist()
                p = math.exp(a[int(target[b, 0, y, x])]) / sum(map(math.exp, a))
                total -= float(weight[b, 0, y, x]) * math.log(p)
    return total


def test_sum_is_equation_1(case):
    assert PixelWeightedCrossEntropy("sum")(*case).item() == pytest.approx(literal(*case), rel=1e-5)
    logits, target, weight = case
    exact = PixelWeightedCrossEntropy("sum")(logits.double(), target, weight.double()).item()
    assert exact == pytest.approx(literal(*case), rel=1e-13)


def test_normalisations(case):
    _, target, weight = case
    total = PixelWeightedCrossEntropy("sum")(*case).item()
    assert PixelWeightedCrossEntropy("mean")(*case).item() == pytest.approx(total / target.numel(), rel=1e-5)
    assert PixelWeightedCrossEntropy("weighted_mean")(*case).item() == pytest.approx(
        total / weight.sum().item(), rel=1e-5
    )
    plane = PixelWeightedCrossEntropy("none")(*case)
    assert plane.shape == (2, 1, 4, 5)
    assert plane.sum().item() == pytest.approx(total, rel=1e-5)


def test_weight_may_travel_in_the_target(case):
    logits, target, weight = case
    together = torch.cat([target.float(), weight], dim=1)
    loss = PixelWeightedCrossEntropy()
    assert torch.equal(loss(logits, together), loss(logits, target, weight))


def test_a_step_down_the_gradient_lowers_it(case):
    logits, target, weight = case
    loss = PixelWeightedCrossEntropy()
    before = loss(logits, target, weight)
    before.backward()
    assert loss(logits.detach() - 0.1 * logits.grad, target, weight) < before


def test_no_gradient_where_the_weight_is_zero(case):
    logits, target, weight = case
    weight[..., :2] = 0
    PixelWeightedCrossEntropy()(logits, target, weight).backward()
    assert (logits.grad[..., :2] == 0).all()
    assert (logits.grad[..., 2:] != 0).any()


def test_all_weights_zero_is_zero_not_nan(case):
    logits, target, weight = case
    for reduction in ("mean", "weighted_mean", "sum"):
        assert PixelWeightedCrossEntropy(reduction)(logits, target, weight * 0).item() == 0


def test_bf16_logits_are_computed_in_fp32(case):
    logits, target, weight = case
    half = logits.detach().bfloat16()
    loss = PixelWeightedCrossEntropy()
    assert loss(half, target, weight).dtype == torch.float32
    assert loss(half, target, weight).item() == pytest.approx(loss(half.float(), target, weight).item())


def test_3d():
    logits = torch.zeros(1, 2, 3, 4, 5)
    assert PixelWeightedCrossEntropy()(logits, torch.zeros(1, 1, 3, 4, 5)).item() == pytest.approx(math.log(2))


def test_errors():
    with pytest.raises(ValueError, match="reduction must be one of mean, weighted_mean, sum, none, got 'avg'"):
        PixelWeightedCrossEntropy("avg")
    loss, logits = PixelWeightedCrossEntropy(), torch.zeros(1, 2, 4, 4)
    with pytest.raises(ValueError, match="centre-crop with CropToOutputd"):
        loss(logits, torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="weight has shape"):
        loss(logits, torch.zeros(1, 1, 4, 4), torch.ones(1, 4, 4))
    with pytest.raises(ValueError, match=r"target must be B1HW\[D\]"):
        loss(logits, torch.zeros(1, 3, 4, 4))
