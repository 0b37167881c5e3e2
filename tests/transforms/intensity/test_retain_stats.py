import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import RandGaussianSmooth, RandGaussianSmoothd

from transforms import RandGrayCurve, RandGrayCurved, RetainStats, RetainStatsd


def changes() -> list[RandGrayCurve | RandGaussianSmooth]:
    return [RandGrayCurve(), RandGaussianSmooth(prob=0.5, sigma_x=(0.5, 2), sigma_y=(0.5, 2))]


@given(st.integers(0, 2**31), st.sampled_from([1.0, 1e-3, 4000.0]))
@settings(max_examples=30, deadline=None)
def test_mean_and_deviation_of_each_channel_are_kept_and_nothing_else(seed, scale):
    image = (scale * (np.random.RandomState(seed).rand(2, 31, 29) ** 3 - 0.2)).astype(np.float32)
    out = RetainStats([RandGrayCurve()])
    out = np.asarray(out.set_random_state(seed)(image)).astype(float)
    curve = RandGrayCurve()
    RetainStats([curve]).set_random_state(seed)  # gives the curve its seed
    changed = curve(image).astype(float)
    for channel, own, other in zip(image.astype(float), out, changed, strict=True):
        assert own.mean() == pytest.approx(channel.mean(), abs=1e-6 * scale)
        assert own.std() == pytest.approx(channel.std(), rel=1e-5)
        np.testing.assert_allclose((own - own.mean()) / own.std(), (other - other.mean()) / other.std(), atol=1e-4)


def test_a_seed_fixes_it_and_another_gives_another():
    image = np.random.RandomState(0).rand(1, 40, 40).astype(np.float32)
    first, again, other = (np.asarray(RetainStats(changes()).set_random_state(seed)(image)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert np.abs(first - image).max() > 0.01


def test_a_blurred_tile_has_the_contrast_of_a_standardized_image():
    noise = np.random.RandomState(0).standard_normal((1, 64, 64)).astype(np.float32)
    blur = RandGaussianSmooth(prob=1, sigma_x=(2, 2), sigma_y=(2, 2))
    assert np.asarray(blur(noise)).std() < 0.2
    assert np.asarray(RetainStats([blur])(noise)).std() == pytest.approx(noise.std(), rel=1e-5)


def test_a_channel_of_one_gray_value_keeps_it():
    image = np.stack([np.full((8, 9), 7.0), np.random.RandomState(0).rand(8, 9)]).astype(np.float32)
    out = np.asarray(RetainStats([RandGrayCurve()]).set_random_state(0)(image))
    np.testing.assert_array_equal(out[0], 7)
    assert np.abs(out[1] - image[1]).max() > 1e-3


def test_kinds_and_dictionary_form(kind, positions):
    image = positions(12, 17).astype(np.float32)
    expected = np.asarray(RetainStats(changes()).set_random_state(5)(image))
    blur = RandGaussianSmoothd("image", prob=0.5, sigma_x=(0.5, 2), sigma_y=(0.5, 2))
    both = RetainStatsd("image", [RandGrayCurved("image"), blur]).set_random_state(5)
    out = both({"image": kind(image), "label": kind(image)})
    assert kind.is_kept_by(out["image"])
    np.testing.assert_allclose(np.asarray(out["image"]).mean(), image.mean(), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(out["image"]).std(), image.std(), rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(out["label"]), image)
    assert expected.shape == np.asarray(out["image"]).shape
    with pytest.raises(KeyError, match="image"):
        both({"label": image})
    optional = RetainStatsd(["image", "other"], [RandGrayCurved("image")], allow_missing_keys=True)
    assert set(optional({"image": image})) == {"image"}
