"""Sums of gray values without rounding, against fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transforms import Standardize
from transforms.intensity.moments import Moments
from transforms.intensity.standardize import standardized

floats = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30)
whole = st.lists(st.integers(-70000, 70000), min_size=1, max_size=30)


@given(st.one_of(floats, whole), st.integers(0, 30))
def test_sums_are_those_of_fractions_however_they_are_parted(numbers, place):
    array = np.array(numbers, np.float32)
    exact = [Fraction(float(x)) for x in array]
    found = Moments.of(array[place:][::-1]) + Moments.of(array[:place])
    assert found == Moments.of(array)
    assert Fraction(found.total, 2**149) == sum(exact)
    assert Fraction(found.squares, 2**298) == sum(x * x for x in exact)
    assert (found.low, found.high) == (array.min(), array.max())
    assert found.mean == np.float32(float(sum(exact) / len(exact)))
    assert (found.deviation == 0) or len(set(numbers)) > 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_many_pixels(kind):
    """More than are added at a time; the greatest 16 bit numbers give the greatest sums."""
    random = np.random.default_rng(0)
    pixels = random.random(2**20 + 77).astype(np.float32) * 1e3 - 400
    if kind is not np.float32:
        pixels = np.full(2**20 + 77, np.iinfo(kind).max, kind)
        pixels[random.integers(0, pixels.size, 99)] = 0
    found = Moments.of(pixels)
    wide = pixels.astype(np.longdouble)
    assert found.count == pixels.size
    assert abs(found.mean - float(wide.mean())) <= 1e-7 * abs(float(wide.mean()))
    assert abs(found.deviation - float(wide.std())) <= 1e-7 * float(wide.std())


def test_what_is_no_number_stays_none():
    for bad in (math.nan, math.inf, -math.inf):
        for found in (
            Moments.of(np.array([1, bad, 2])),
            Moments() + Moments.of(np.array([bad])) + Moments.of(np.ones(1)),
        ):
            assert math.isnan(found.mean)
            assert math.isnan(found.deviation)
    assert math.isnan(Moments().mean)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32 - 1), st.booleans())
def test_parts_standardised_by_the_moments_of_the_whole_are_parts_of_the_whole(x, y, seed, is_whole):
    image = torch.from_numpy(np.random.default_rng(seed).random((1, 9, 9), np.float32) * 300)
    image = image.round() if is_whole else image
    parts = [image[:, :x, :y], image[:, x:, :y], image[:, :, y:]]
    moments = sum((Moments.of(part.numpy()) for part in parts), Moments())
    expected = Standardize()(image)
    for part, there in zip(parts, (np.s_[:, :x, :y], np.s_[:, x:, :y], np.s_[:, :, y:]), strict=True):
        assert torch.equal(standardized(part[..., None], [moments])[..., 0], expected[there])
