"""Grey values to zero mean and unit variance."""

import numpy as np
import pytest
import torch

from transforms import Standardize
from transforms.compiling import compiled


@pytest.mark.parametrize(("value", "size"), [(255.0, 333), (1000.0, 700), (65535.0, 1000), (37.3, 512), (0.0, 8)])
def test_a_constant_slice_becomes_0_whatever_rounding_makes_of_its_mean(value, size):
    stack = torch.full((1, size, size, 2), value)
    stack[..., 1] = torch.arange(size)
    found = Standardize()(stack)
    assert float(found[..., 0].abs().max()) == 0
    np.testing.assert_allclose([found[..., 1].mean(), found[..., 1].std(correction=0)], [0, 1], atol=1e-5)


def test_without_a_place_for_its_cache_code_is_compiled_all_the_same(tmp_path, monkeypatch):
    from transforms import compiling

    original = compiling.njit

    def nowhere(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return original(**options)

    monkeypatch.setattr(compiling, "njit", nowhere)
    assert compiled(fastmath=True)(lambda x: x + 1)(2.0) == 3.0


def test_robust_standardisation_clips_each_slice_by_itself_and_nothing_where_quantiles_are_equal():
    stack = torch.arange(10000.0).reshape(1, 100, 100, 1).repeat(1, 1, 1, 3)
    stack[0, 0, 0, 1] = 1e9
    stack[..., 2] = 0
    stack[0, 5, 5, 2] = 7  # rarer than the quantiles
    found = Standardize(robust=True)(stack)
    np.testing.assert_allclose(found[..., 1][0, 1:], found[..., 0][0, 1:], atol=2e-3)
    assert torch.equal(found[..., 2], Standardize()(stack)[..., 2])
    np.testing.assert_allclose(found.mean(dim=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(dim=(0, 1, 2), correction=0), 1, atol=1e-5)
    with pytest.raises(ValueError, match="robust must be True or False, got 'false'"):
        Standardize(robust="false")


@pytest.mark.parametrize("robust", [False, True])
def test_a_channel_is_standardised_as_if_it_were_alone(robust):
    """To the bit, so that one channel is what it always was."""
    random = np.random.RandomState(0)
    image = torch.from_numpy(random.rand(3, 33, 21, 2).astype(np.float32)) * torch.tensor([1, 300, 0]).view(3, 1, 1, 1)
    found = Standardize(robust=robust)(image)
    for number in range(3):
        assert torch.equal(found[number], Standardize(robust=robust)(image[number : number + 1])[0])
    np.testing.assert_allclose(found[:2].std(dim=(1, 2), correction=0), 1, atol=1e-5)
    assert (found[2] == 0).all()
