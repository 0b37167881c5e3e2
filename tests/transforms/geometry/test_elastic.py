"""Both random deformations: their fields, their windows, and what they have in common."""

import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from monai.utils import set_determinism
from scipy.ndimage import gaussian_filter

from bundle.geometry import mirror_indices
from tests.reference import elastic as reference
from transforms import (
    LabelToInstances,
    RandElasticField,
    RandElasticFieldd,
    RandElasticGrid,
    RandElasticGridd,
    RandGrayCurved,
)

STILL = {RandElasticGrid: {"sigma": 0}, RandElasticField: {"alpha": 0}}
GENTLE = {RandElasticGrid: {"sigma": 2}, RandElasticField: {"alpha": 20, "sigma": 5}}
BOTH = pytest.mark.parametrize("form", [RandElasticGrid, RandElasticField])
DICTIONARY = {RandElasticGrid: RandElasticGridd, RandElasticField: RandElasticFieldd}


@pytest.mark.parametrize(("size", "grid"), [((21, 34), 3), ((30, 9), (2, 5)), ((9, 12, 11), 3)])
@pytest.mark.parametrize("interpolation", ["cubic", "bspline"])
def test_grid_field_equals_splines_along_one_axis_after_the_other(size, grid, interpolation):
    transform = RandElasticGrid(sigma=10, grid_size=grid, interpolation=interpolation).set_random_state(4)
    field = transform.draw_displacement(size)
    per_axis = (grid,) * len(size) if isinstance(grid, int) else grid
    ring = 0 if interpolation == "cubic" else 2
    vectors = np.random.RandomState(4).normal(0, 10, (len(size), *(g + ring for g in per_axis)))
    slow = reference.cubic_field if interpolation == "cubic" else reference.bspline_field
    np.testing.assert_allclose(field, slow(vectors, size), atol=2e-5)


def test_cubic_field_passes_through_the_drawn_vectors():
    field = RandElasticGrid(sigma=10).set_random_state(0).draw_displacement((41, 61))
    vectors = np.random.RandomState(0).normal(0, 10, (2, 3, 3))
    np.testing.assert_allclose(field[:, ::20, ::30], vectors, atol=1e-5)


@pytest.mark.parametrize(("interpolation", "low", "high"), [("cubic", 5.5, 10.5), ("bspline", 4.4, 5.2)])
def test_how_far_pixels_really_move(interpolation, low, high):
    transform = RandElasticGrid(sigma=10, interpolation=interpolation).set_random_state(0)
    std = np.std([transform.draw_displacement((33, 33)) for _ in range(1500)], axis=0)
    assert low < std.min()
    assert std.max() < high


@pytest.mark.parametrize("size", [(30, 41), (12, 10, 14)])
def test_smoothed_field_equals_scipy_s_gaussian_filter(size):
    sigma, reach = 2.3, 9
    field = RandElasticField(alpha=7, sigma=sigma).set_random_state(2).draw_displacement(size)
    noise = np.random.RandomState(2).uniform(-1, 1, (len(size), *(n + 2 * reach for n in size)))
    inner = tuple(slice(reach, -reach) for _ in size)
    slow = np.stack([7 * gaussian_filter(component, sigma)[inner] for component in noise])
    np.testing.assert_allclose(field, slow, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_normalised_field_has_alpha_as_its_standard_deviation_up_to_the_edge(dims):
    transform = RandElasticField(alpha=3, sigma=1.5, normalise=True).set_random_state(0)
    fields = np.stack([transform.draw_displacement((14,) * dims) for _ in range(300 if dims == 2 else 40)])
    assert fields.std() == pytest.approx(3, rel=0.04)
    assert fields[:, :, 0].std() == pytest.approx(3, rel=0.1)


def test_the_amplitude_shrinks_as_documented():
    field = RandElasticField(alpha=600, sigma=20).set_random_state(0)
    assert np.std([field.draw_displacement((64, 64)) for _ in range(60)]) == pytest.approx(4.9, rel=0.1)


@BOTH
@pytest.mark.parametrize(("size", "window"), [((30, 41), 16), ((9, 12), (31, 50)), ((6, 8, 7), (4, 15, 7))])
@pytest.mark.parametrize("shift", ["none", "anywhere", 3])
def test_without_deformation_the_window_is_an_exact_mirrored_crop(form, positions, size, window, shift):
    image = positions(*size) / 7
    transform = form(**STILL[form], spatial_size=window, shift=shift).set_random_state(1)
    label = image.astype(np.float64)
    for _ in range(5):
        out = transform(image)
        centre = transform.sampling.centre
        sizes = (window,) * len(size) if isinstance(window, int) else window
        expected = image[0]
        for axis, (n, w) in enumerate(zip(size, sizes, strict=True)):
            start = centre[axis] - (w - 1) / 2
            assert start == int(start)
            expected = expected.take(mirror_indices(int(start), int(start) + w, n), axis)
        np.testing.assert_array_equal(out[0], expected)
        np.testing.assert_allclose(transform(label, mode="nearest", randomize=False)[0], expected, rtol=1e-6)


@BOTH
def test_where_the_window_lies(form, positions):
    def centres(size, **options):
        transform = form(**STILL[form], **options).set_random_state(0)
        drawn = []
        for _ in range(400):
            transform.randomize(size)
            drawn.append(transform.sampling.centre)
        return np.array(drawn)

    np.testing.assert_array_equal(np.unique(centres((9, 20), spatial_size=5), axis=0), [[4, 9]])
    near = centres((9, 21), spatial_size=5, shift=(0, 2))
    np.testing.assert_array_equal(np.unique(near[:, 0]), [4])
    np.testing.assert_array_equal(np.unique(near[:, 1]), [8, 9, 10, 11, 12])
    for window in (5, 31):  # smaller and larger than the image
        anywhere = centres((7, 20), spatial_size=window, shift="anywhere")
        np.testing.assert_array_equal(np.unique(anywhere[:, 0]), np.arange(7))
        np.testing.assert_array_equal(np.unique(anywhere[:, 1]), np.arange(20))
    even = centres((7, 20), spatial_size=6, shift="anywhere")
    np.testing.assert_array_equal(np.unique(even[:, 0]), np.arange(-0.5, 7))


@BOTH
@pytest.mark.parametrize(("turns", "axes"), [(1, (1, 2)), (2, (1, 2)), (-1, (1, 2)), (1, (2, 3))])
def test_quarter_turns_equal_rot90_bit_for_bit(form, turns, axes):
    size = (12, 12) if axes == (1, 2) else (4, 9, 9)
    image = np.random.RandomState(0).rand(2, *size).astype(np.float32)
    angle = turns * np.pi / 2
    transform = form(**STILL[form], rotate_range=(angle, angle))
    for mode in ("bilinear", "nearest"):
        np.testing.assert_array_equal(transform(image, mode=mode), np.rot90(image, turns, axes))


def test_rotation_by_any_angle_turns_counter_clockwise():
    image = np.zeros((1, 41, 41), np.float32)
    image[0, 20, 35] = 1  # right of the middle
    out = RandElasticGrid(sigma=0, rotate_range=(np.pi / 6, np.pi / 6))(image)[0]
    y, x = (np.sum(grid * out) / out.sum() for grid in np.mgrid[:41, :41])
    assert (y, x) == pytest.approx((20 - 15 * np.sin(np.pi / 6), 20 + 15 * np.cos(np.pi / 6)), abs=0.1)


@BOTH
def test_flips_mirror_the_named_axes_exactly_and_half_of_the_time(form, positions):
    image = positions(5, 6)
    transform = form(**STILL[form], flip=[1]).set_random_state(0)
    outs = [transform(image) for _ in range(200)]
    flipped = [np.array_equal(out, image[:, :, ::-1]) for out in outs]
    assert all(f or np.array_equal(out, image) for f, out in zip(flipped, outs, strict=True))
    assert 70 < sum(flipped) < 130
    seen = {form(**STILL[form], flip=True).set_random_state(seed)(image).tobytes() for seed in range(30)}
    assert seen == {image[:, ::a, ::b].tobytes() for a in (1, -1) for b in (1, -1)}


def test_scale_magnifies_and_shear_shears():
    image = np.zeros((1, 61, 61), np.float32)
    image[0, 25:36, 25:36] = 1
    for form in (RandElasticField(alpha=0, scale_range=(1, 1)), RandElasticGrid(sigma=0, scale_range=(1, 1))):
        assert form(image).sum() == pytest.approx(4 * image.sum(), rel=0.03)
    sheared = RandElasticField(alpha=0, shear_range=(0.5, 0.5))(image)[0]
    y, x = (grid - 30 for grid in np.mgrid[:61, :61])
    assert np.sum(x * y * sheared) / np.sum(x * x * sheared) == pytest.approx(-0.5, rel=0.05)


@BOTH
@pytest.mark.parametrize("size", [(40, 44), (10, 20, 22)])
def test_one_draw_moves_image_label_and_weight_together(form, size):
    label = np.random.RandomState(0).randint(0, 2**25, (1, *(n // 5 for n in size)))
    label[:, ::2, ::2], label[:, 1::2, ::2] = -1, 0
    for axis in range(1, len(size) + 1):
        label = label.repeat(5, axis)
    label = label[(slice(None), *(slice(n) for n in size))]
    options = {**GENTLE[form], "spatial_size": 36, "rotate_range": 1.0, "flip": True, "shift": "anywhere"}
    transform = DICTIONARY[form](["image", "label", "weight"], mode=["bilinear", "nearest", "bilinear"], **options)
    transform.set_random_state(3)
    image = (label % 997).astype(np.float32)
    out = transform({"image": image, "label": label, "weight": 2 * image, "name": "t0"})
    assert out["image"].shape == out["label"].shape == (1, *(36,) * len(size))
    assert out["label"].dtype == label.dtype
    assert set(np.unique(out["label"])) <= set(np.unique(label))
    assert -1 in out["label"]
    np.testing.assert_allclose(out["weight"], 2 * out["image"], rtol=1e-5)
    # away from the edges between blocks the image is constant and must show the label's number
    agree = np.isclose(out["image"], out["label"] % 997, atol=1e-2)
    assert agree.mean() > (0.35 if len(size) == 2 else 0.2)
    assert out["name"] == "t0"
    LabelToInstances("instances")(out["label"])  # raises if a value was interpolated


@BOTH
@pytest.mark.parametrize("size", [(40, 44), (10, 20, 22)])
def test_all_channels_are_read_at_the_same_places(form, size, positions):
    """Every pixel says its channel and its place: the places are the same in all channels, and in the label."""
    place = positions(*size)
    image = np.concatenate([place, place + 100_000, 200_000 - place])
    options = {**GENTLE[form], "spatial_size": 36, "rotate_range": 1.0, "flip": True, "shift": "anywhere"}
    transform = DICTIONARY[form](["image", "label"], mode=["nearest", "nearest"], **options).set_random_state(3)
    out = transform({"image": image, "label": place})
    for channel, expected in zip(
        out["image"], [out["label"], out["label"] + 100_000, 200_000 - out["label"]], strict=True
    ):
        np.testing.assert_array_equal(channel, expected[0])
    assert len(np.unique(out["label"])) > 100


@BOTH
def test_dictionary_form_equals_array_form(form, kind):
    image = np.random.RandomState(0).rand(2, 30, 33).astype(np.float32)
    options = {**GENTLE[form], "rotate_range": 0.4, "shift": 5, "flip": True}
    array_form = form(**options).set_random_state(7)
    expected = array_form(image)
    out = DICTIONARY[form](["a", "b"], mode=["bilinear", "nearest"], **options).set_random_state(7)(
        {"a": kind(image), "b": kind(image)}
    )
    assert kind.is_kept_by(out["a"])
    assert kind.is_kept_by(out["b"])
    np.testing.assert_array_equal(np.asarray(out["a"]), expected)
    np.testing.assert_array_equal(np.asarray(out["b"]), array_form(image, mode="nearest", randomize=False))
    if kind.name == "meta":
        assert out["a"].meta["filename_or_obj"] == out["b"].meta["filename_or_obj"] == "cells.png"


@pytest.mark.parametrize(("mode", "share"), [("nearest", 1.0), ("bilinear", 4 / 9)])
def test_how_much_of_the_noise_is_left(mode, share):
    noise = np.random.RandomState(0).normal(size=(1, 300, 300)).astype(np.float32)
    warp = RandElasticGrid(spatial_size=300, mode=mode, sigma=10.0, rotate_range=np.pi).set_random_state(0)
    assert np.mean([np.var(np.asarray(warp(noise))) for _ in range(10)]) == pytest.approx(share, abs=0.02)


@BOTH
def test_prob_0_only_cuts_the_window_out_and_prob_half_deforms_half(form, positions):
    image = positions(60, 60)
    options = {**GENTLE[form], "spatial_size": 20, "rotate_range": 1.0, "flip": True, "shift": "anywhere"}
    transform = form(prob=0, **options).set_random_state(0)
    starts = set()
    for _ in range(10):
        out = transform(image)
        assert transform.smallest_jacobian == 1
        start = [int(c - 9.5) for c in transform.sampling.centre]
        rows, columns = (mirror_indices(s, s + 20, 60) for s in start)
        np.testing.assert_array_equal(out[0], image[0][np.ix_(rows, columns)])
        starts.add(tuple(start))
    assert len(starts) > 5
    transform = form(prob=0.5, **options).set_random_state(0)
    deformed = 0
    for _ in range(100):
        transform.randomize((60, 60))
        deformed += transform.sampling.displacement is not None
    assert 30 < deformed < 70


@pytest.mark.parametrize(
    ("transform", "parameter", "advice"),
    [
        (
            RandElasticGrid(sigma=30, on_fold="raise"),
            "sigma",
            r"sigma=30 px .*15\.5 px apart.*advisable sigma here is 1\.9 px",
        ),
        (
            RandElasticField(alpha=900, sigma=4, on_fold="raise"),
            "alpha",
            r"alpha=900 .*sigma=4 px.*advisable alpha here is 25$",
        ),
    ],
)
def test_a_fold_is_never_silent_and_the_advice_helps(transform, parameter, advice):
    image = np.zeros((1, 32, 32), np.float32)
    message = r"folds over itself in 1 draw: smallest Jacobian determinant -[\d.e+]+ .*window of \(32, 32\) px; "
    with pytest.raises(ValueError, match=message + advice):
        transform.set_random_state(0)(image)
    assert transform.smallest_jacobian <= 0

    transform.on_fold = "warn"
    with pytest.warns(UserWarning, match=advice):
        transform(image)
    assert transform.sampling.displacement is not None

    transform.on_fold, transform.max_redraws = "redraw", 3
    with pytest.raises(ValueError, match="in all 4 draws"):
        transform(image)

    advised = {"sigma": 1.9, "alpha": 25.0}[parameter]
    setattr(transform, parameter, advised)
    assert sum(neighbours_cross(transform, (32, 32)) for _ in range(300)) <= 6


def neighbours_cross(transform, size) -> bool:
    """Whether a fresh displacement folds, counted by crossed neighbours rather than by the code under test."""
    u = transform.draw_displacement(size)
    y, x = u + np.mgrid[: size[0], : size[1]]
    return bool((np.diff(y, axis=0) <= 0).any() or (np.diff(x, axis=1) <= 0).any())


@BOTH
def test_redraw_replaces_folding_draws(form):
    # beyond the advice: draws fold, and none of them is used
    options = {"sigma": 6} if form is RandElasticGrid else {"alpha": 60, "sigma": 4}
    transform = form(**options, max_redraws=100).set_random_state(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(8):
            transform.randomize((32, 32))
            slow = reference.smallest_jacobian(transform.sampling.displacement)
            assert slow > 0
            assert transform.smallest_jacobian == pytest.approx(slow, abs=1e-4)
    folding = [reference.smallest_jacobian(transform.draw_displacement((32, 32))) <= 0 for _ in range(12)]
    assert any(folding)


def test_folding_is_judged_without_the_flips():
    transform = RandElasticGrid(sigma=1, flip=True, on_fold="raise").set_random_state(0)
    for _ in range(20):
        transform.randomize((64, 64))
    assert transform.smallest_jacobian > 0.5


@BOTH
def test_a_seed_fixes_everything(form):
    image = np.random.RandomState(0).rand(1, 40, 40).astype(np.float32)
    label = (image > 0.5).astype(np.uint8)
    keys = ["image", "label"]
    options = {**GENTLE[form], "rotate_range": 1.0, "shift": "anywhere", "flip": True, "prob": 0.7}
    pipeline = Compose([DICTIONARY[form](keys, mode=["bilinear", "nearest"], **options), RandGrayCurved("image")])

    def run(convert):
        return [pipeline({"image": convert(image), "label": convert(label)}) for _ in range(4)]

    def assert_equal(first, second):
        for one, other in zip(first, second, strict=True):
            for key in keys:
                np.testing.assert_array_equal(np.asarray(one[key]), np.asarray(other[key]))

    pipeline.set_random_state(11)
    as_numpy = run(lambda array: array)
    np.random.seed(0)  # noqa: NPY002 - the global generator must have no influence
    torch.manual_seed(0)
    pipeline.set_random_state(11)
    assert_equal(as_numpy, run(torch.from_numpy))
    pipeline.set_random_state(11)
    assert_equal(as_numpy, run(lambda array: MetaTensor(torch.from_numpy(array))))
    assert not np.array_equal(as_numpy[0]["image"], as_numpy[1]["image"])

    def fresh_pipeline():
        set_determinism(5)
        try:
            return Compose([DICTIONARY[form](keys, mode=["bilinear", "nearest"], **options)]).set_random_state(5)
        finally:
            set_determinism(None)

    sample = {"image": image, "label": label}
    np.testing.assert_array_equal(fresh_pipeline()(sample)["image"], fresh_pipeline()(sample)["image"])


@BOTH
def test_images_that_do_not_match_are_refused(form, positions):
    dictionary_form = DICTIONARY[form](["image", "label"], **GENTLE[form])
    with pytest.raises(ValueError, match=r"'image' has \(4, 5\) px and 'label' \(5, 4\) px"):
        dictionary_form({"image": positions(4, 5), "label": positions(5, 4)})
    with pytest.raises(KeyError):
        dictionary_form({"image": positions(4, 5)})
    tolerant = DICTIONARY[form](["image", "label"], allow_missing_keys=True, **GENTLE[form])
    assert tolerant({"image": positions(40, 50)}).keys() == {"image"}
    assert tolerant({"name": 1}) == {"name": 1}

    transform = form(**GENTLE[form])
    with pytest.raises(RuntimeError, match="nothing was drawn yet"):
        transform(positions(4, 5), randomize=False)
    with pytest.raises(ValueError, match="CHW or CHWD"):
        transform(positions(4))
    with pytest.raises(ValueError, match=r"spatial_size has 3 values \(4, 4, 4\), the image has 2 axes"):
        form(spatial_size=(4, 4, 4))(positions(4, 5))
    with pytest.raises(ValueError, match=r"flip names axis 2, the image has axes 0 \.\. 1"):
        form(flip=[2])(positions(4, 5))


@BOTH
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prob": -0.1}, ValueError, "prob must be within"),
        ({"sigma": -1}, ValueError, "sigma must be"),
        ({"shift": "everywhere"}, ValueError, "'none', 'anywhere' or a range in px, got 'everywhere'"),
        ({"shift": -2}, ValueError, "shift must be at least 0"),
        ({"shift": 2.5}, TypeError, "shift must be a whole number"),
        ({"spatial_size": 0}, ValueError, "spatial_size must be at least 1"),
        ({"mode": "linear"}, ValueError, "nearest, bilinear, bicubic, got 'linear'"),
        ({"on_fold": "ignore"}, ValueError, "redraw, raise, warn, got 'ignore'"),
        ({"max_redraws": -1}, ValueError, "max_redraws must be at least 0"),
        ({"rotate_range": (1, 0)}, ValueError, "rotate_range must be a number or"),
    ],
)
def test_impossible_options_are_refused(form, options, error, message):
    with pytest.raises(error, match=message):
        form(**options)


def test_impossible_options_of_one_form_are_refused():
    with pytest.raises(ValueError, match="grid_size must be at least 2"):
        RandElasticGrid(grid_size=1)
    with pytest.raises(ValueError, match="cubic, bspline, got 'linear'"):
        RandElasticGrid(interpolation="linear")
    with pytest.raises(ValueError, match="alpha must be at least 0"):
        RandElasticField(alpha=-1)
    with pytest.raises(ValueError, match="scale_range must stay above -1"):
        RandElasticField(scale_range=(-1, 0))
    with pytest.raises(ValueError, match="mode must be one of"):
        RandElasticGridd(["a", "b"], mode=["bilinear", "label"])
