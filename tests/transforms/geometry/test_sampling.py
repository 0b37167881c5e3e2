import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.geometry import mirror_indices
from tests.reference import elastic as reference
from transforms.geometry.displacement import smallest_jacobian
from transforms.geometry.sampling import Sampling


def random_sampling(seed: int, image_size: tuple[int, ...], window_size: tuple[int, ...]) -> Sampling:
    """A window with rotation-like matrix and rough displacements, partly or wholly outside the image."""
    state = np.random.RandomState(seed)
    dims = len(image_size)
    return Sampling(
        image_size,
        window_size,
        centre=state.uniform(-10, 20, dims),
        matrix=np.eye(dims) + state.uniform(-0.5, 0.5, (dims, dims)),
        displacement=state.uniform(-3, 3, (dims, *window_size)).astype(np.float32),
    )


@given(
    st.integers(0, 2**31),
    st.sampled_from([((6, 9), (11, 4)), ((1, 5), (4, 7)), ((3, 4, 5), (4, 3, 6)), ((1, 1), (2, 3))]),
)
@settings(max_examples=40, deadline=None)
def test_reading_equals_reading_every_pixel_alone(seed, sizes):
    sampling = random_sampling(seed, *sizes)
    image = np.random.RandomState(seed).rand(2, *sizes[0]).astype(np.float32)
    linear, nearest = sampling.read(image, "bilinear"), sampling.read(image, "nearest")
    for index in np.ndindex(*sizes[1]):
        offset = np.array(index) - (np.array(sizes[1]) - 1) / 2
        moved = offset + sampling.displacement[(slice(None), *index)]
        position = sampling.centre + sampling.matrix @ moved
        for channel in range(2):
            at = (channel, *index)
            assert linear[at] == pytest.approx(reference.read_linear(image[channel], position), abs=2e-5)
            if np.abs(position - np.floor(position) - 0.5).min() > 1e-4:  # halfway between pixels either is nearest
                assert nearest[at] == reference.read_nearest(image[channel], position)


@given(st.integers(1, 7), st.integers(1, 30), st.integers(-40, 40))
@settings(max_examples=60, deadline=None)
def test_a_shift_is_an_exact_mirrored_crop(n, window, start):
    image = np.arange(n * 3, dtype=np.float32).reshape(1, n, 3) * 1.1
    sampling = Sampling((n, 3), (window, 3), np.array([start + (window - 1) / 2, 1.0]), np.eye(2))
    for mode in ("nearest", "bilinear", "bicubic"):
        np.testing.assert_array_equal(sampling.read(image, mode), image[:, mirror_indices(start, start + window, n)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.float64, bool])
def test_nearest_keeps_dtype_and_values_beyond_float32(dtype, kind):
    values = np.array([0, 1, 200] if dtype in (np.uint8, bool) else [0, 40_001, 65_535], dtype)
    if dtype in (np.int32, np.int64):
        values = np.array([-1, 2**24 + 1, 2**31 - 1], dtype)
    label = np.random.RandomState(0).choice(values, (1, 8, 9))
    out = random_sampling(1, (8, 9), (20, 20)).read(kind(label), "nearest")
    assert kind.is_kept_by(out)
    assert np.asarray(out).dtype == dtype
    assert set(np.unique(np.asarray(out))) == set(np.unique(label))


def test_bicubic_keeps_fine_texture_that_bilinear_blurs():
    def wave(x):
        return np.sin(2 * np.pi * x / 5)  # a period of 5 px

    image = np.tile(wave(np.arange(40, dtype=np.float32)), (1, 10, 1))
    sampling = Sampling((10, 40), (4, 20), np.array([4.5, 20.0]), np.eye(2))  # half a pixel off
    error = {mode: np.std(sampling.read(image, mode) - wave(10.5 + np.arange(20))) for mode in ("bilinear", "bicubic")}
    assert error["bilinear"] > 0.1
    assert error["bicubic"] < 0.02


def test_what_cannot_be_read_is_refused():
    sampling = random_sampling(0, (4, 5), (6, 6))
    with pytest.raises(ValueError, match=r"image of \(4, 5\) px, got \(5, 4\) px"):
        sampling.read(np.zeros((1, 5, 4), np.float32), "bilinear")
    with pytest.raises(ValueError, match="nearest, bilinear, bicubic, got 'linear'"):
        sampling.read(np.zeros((1, 4, 5), np.float32), "linear")
    with pytest.raises(ValueError, match="'bicubic' is for 2D"):
        random_sampling(0, (4, 5, 6), (6, 6, 6)).read(torch.zeros(1, 4, 5, 6), "bicubic")


@given(st.integers(0, 2**31), st.sampled_from([(5, 6), (2, 7), (3, 4, 3), (2, 2, 2)]), st.floats(0.05, 1.0))
@settings(max_examples=40, deadline=None)
def test_smallest_jacobian_equals_determinants_one_by_one(seed, size, amplitude):
    state = np.random.RandomState(seed)
    displacement = state.uniform(-amplitude, amplitude, (len(size), *size)).astype(np.float32)
    assert smallest_jacobian(displacement) == pytest.approx(reference.smallest_jacobian(displacement), abs=1e-5)


def test_smallest_jacobian_of_known_maps():
    y, x = np.mgrid[:6, :8].astype(np.float32)
    assert smallest_jacobian(np.stack([0 * y, 0 * x])) == 1
    assert smallest_jacobian(np.stack([0.5 * y, -0.5 * x])) == pytest.approx(0.75)
    assert smallest_jacobian(np.stack([0 * y, -2 * x])) == pytest.approx(-1)
    assert smallest_jacobian(np.stack([0 * y, 3 * x])[:, :1]) == pytest.approx(4)  # an axis of one pixel
    assert smallest_jacobian(np.zeros((2, 1, 1), np.float32)) == 1
    one_pixel_fold = np.zeros((2, 6, 8), np.float32)
    one_pixel_fold[1, 3, 4] = 1.5
    assert smallest_jacobian(one_pixel_fold) == pytest.approx(-0.5)
