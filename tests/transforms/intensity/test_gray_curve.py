import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import RandGrayCurve, RandGrayCurved


@given(st.integers(0, 2**31), st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_the_curve_rises_strictly_between_its_ends(seed, knots):
    transform = RandGrayCurve(knots=knots).set_random_state(seed)
    transform.randomize()
    (curve,) = transform.curves
    assert (np.diff(curve) > 0).all()
    assert -0.05 <= curve[0] <= 0.05
    assert 0.95 <= curve[-1] <= 1.05


def test_order_of_gray_values_is_kept_over_the_image_s_own_range():
    image = np.random.RandomState(0).randint(100, 4000, (1, 40, 50)).astype(np.uint16)
    out = RandGrayCurve().set_random_state(3)(image)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(
        np.argsort(np.unique(image)), np.argsort([out[image == v][0] for v in np.unique(image)])
    )
    span = float(image.max()) - image.min()
    assert abs(out.min() - image.min()) <= 0.05 * span
    assert abs(out.max() - image.max()) <= 0.05 * span
    assert not np.allclose(out, image, atol=0.005 * span)


def test_slopes_and_ends_are_where_they_were_asked_to_be():
    ramp = np.linspace(0, 10, 101, dtype=np.float32).reshape(1, 1, 101)
    straight = RandGrayCurve(end_low=(0.2, 0.2), end_high=(0.7, 0.7), slope=(1, 1))(ramp)
    np.testing.assert_allclose(straight, 2 + 0.5 * ramp, atol=1e-5)
    transform = RandGrayCurve(knots=3, end_low=(0, 0), end_high=(1, 1), slope=(0.5, 2)).set_random_state(0)
    out = transform(ramp)[0, 0]
    steps = np.array([out[50] - out[0], out[100] - out[50]]) / 10
    state = np.random.RandomState(0)
    state.rand()  # whether to transform
    state.uniform(0, 0), state.uniform(1, 1)  # the ends
    slopes = state.uniform(0.5, 2, 2)
    np.testing.assert_allclose(steps, slopes / slopes.sum(), atol=1e-3)


@given(st.integers(0, 2**31), st.sampled_from([1.0, 1e-3, 4000.0]))
@settings(max_examples=30, deadline=None)
def test_gray_values_are_read_from_the_curve_as_numpy_reads_them(seed, scale):
    random = np.random.RandomState(seed)
    image = (scale * random.standard_normal((1, 23, 17))).astype(np.float32)
    transform = RandGrayCurve().set_random_state(seed)
    out = transform(image)
    low, high, curve = float(image.min()), float(image.max()), transform.curves[0].astype(np.float32)
    position = (image - np.float32(low)) * np.float32((len(curve) - 1) / (high - low))
    entry = np.minimum(position.astype(np.int32), len(curve) - 2)
    mapped = curve[entry] + (position - entry.astype(np.float32)) * np.diff(curve)[entry]
    assert out.tobytes() == (np.float32(low) + np.float32(high - low) * mapped).tobytes()


def test_each_channel_has_a_curve_and_a_range_of_its_own():
    image = np.random.RandomState(0).rand(1, 9, 9).astype(np.float32)
    transform = RandGrayCurve().set_random_state(1)
    out = transform(np.concatenate([image, 50 + 100 * image, np.full_like(image, 3)]))
    assert len(transform.curves) == 3
    np.testing.assert_array_equal(out[:1], RandGrayCurve().set_random_state(1)(image))  # as if it were alone
    second = (out[1] - 50) / 100
    assert np.abs(second - out[0]).max() > 0.01
    assert np.abs(second - image[0]).max() < 0.2
    np.testing.assert_array_equal(out[2], 3)


def test_constant_image_and_prob_0_change_nothing(positions):
    constant = np.full((2, 4, 5), 7, np.float32)
    np.testing.assert_array_equal(RandGrayCurve()(constant), constant)
    np.testing.assert_array_equal(RandGrayCurve(prob=0)(positions(4, 5)), positions(4, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prob": 1.5}, "prob must be within"),
        ({"knots": 1}, "knots must be at least 2"),
        ({"slope": (0, 1)}, "slope must stay above 0"),
        ({"slope": (2, 1)}, r"slope must be \(low, high\)"),
        ({"end_low": (0, 0.6), "end_high": (0.5, 1)}, "must stay below end_high"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RandGrayCurve(**options)


def test_kinds_dictionary_form_and_seed(kind, positions):
    image = positions(6, 7)
    expected = RandGrayCurve().set_random_state(5)(image)
    out = RandGrayCurved(["a", "b"]).set_random_state(5)({"a": kind(image), "b": kind(image)})
    assert kind.is_kept_by(out["a"])
    np.testing.assert_array_equal(np.asarray(out["a"]), expected)
    np.testing.assert_array_equal(np.asarray(out["b"]), expected)
