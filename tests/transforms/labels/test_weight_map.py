import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.transforms import Compose

from bundle.data.dataset import weigh_what_is_kept
from tests.reference import weight_map as reference
from transforms import (
    CropToOutputd,
    InstancesToClassd,
    RandGrayCurved,
    SeparateTouchingd,
    WeightMap,
    WeightMapd,
    two_nearest_distances,
)
from transforms.labels.weight_map import balanced_weights


@st.composite
def label_maps(draw):
    """2D and 3D maps from crowded to nearly empty; sides of 1 px, one cell or none, and ignored pixels occur."""
    dims = draw(st.sampled_from([2, 2, 3]))
    shape = draw(array_shapes(min_dims=dims, max_dims=dims, max_side=20 if dims == 2 else 7))
    cells = draw(st.integers(1, 6))
    seed = np.random.RandomState(draw(st.integers(0, 2**31)))
    filled = seed.rand(*shape) < draw(st.sampled_from([0.02, 0.1, 0.5, 1.0]))
    instances = np.where(filled, seed.randint(1, cells + 1, shape), 0)
    return np.where(seed.rand(*shape) < draw(st.sampled_from([0.0, 0.2])), -1, instances).astype(np.int32)


@given(label_maps())
@settings(max_examples=250, deadline=None)
def test_distances_equal_one_transform_a_cell(instances):
    for fast, slow in zip(two_nearest_distances(instances), reference.two_nearest_distances(instances), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=0)


@given(arrays(np.int32, (5, 7), elements=st.integers(-1, 3)))
@settings(max_examples=100, deadline=None)
def test_distances_in_all_arrangements_of_few_pixels(instances):
    for fast, slow in zip(two_nearest_distances(instances), reference.two_nearest_distances(instances), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(120, 90), (1, 150), (150, 1), (20, 30, 25)])
@pytest.mark.parametrize("cells", [2, 30])
def test_distances_over_long_ranges(shape, cells):
    seed = np.random.RandomState(cells)
    instances = np.zeros(shape, np.int32)
    for number in range(1, cells + 1):
        corner = [seed.randint(n) for n in shape]
        instances[tuple(slice(c, c + seed.randint(1, 6)) for c in corner)] = number
    for fast, slow in zip(two_nearest_distances(instances), reference.two_nearest_distances(instances), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=0)


def test_distances_seen_from_afar_where_every_pixel_has_another_nearest_cell():
    instances = np.zeros((60, 60), np.int32)
    instances[-1] = np.arange(1, 61)
    d1, d2 = two_nearest_distances(instances)
    assert d1[0, 30] == 59
    assert d2[0, 30] == pytest.approx(np.hypot(59, 1))
    for fast, slow in zip((d1, d2), reference.two_nearest_distances(instances), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=0)


@given(label_maps(), st.data())
@settings(max_examples=100, deadline=None)
def test_distances_of_a_region_are_those_of_the_whole(instances, data):
    bounds = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)))) for n in instances.shape]
    region = tuple(slice(low, max(low + 1, high)) for low, high in bounds)
    for part, whole in zip(
        two_nearest_distances(instances, region=region), two_nearest_distances(instances), strict=True
    ):
        assert part.tobytes() == whole[region].tobytes()


@given(label_maps(), st.sampled_from([0.5, 3.0, 7.3, 20.0, 64.0]))
@settings(max_examples=150, deadline=None)
def test_distances_within_reach_are_exact_and_none_is_too_small(instances, reach):
    found, expected = two_nearest_distances(instances, reach=reach), two_nearest_distances(instances)
    within = sum(expected) <= reach
    for near, exact in zip(found, expected, strict=True):
        np.testing.assert_array_equal(near[within], exact[within])
        assert (near >= exact).all()


@pytest.mark.parametrize("border_on", ["everywhere", "background"])
@pytest.mark.parametrize("options", [{}, {"class_weights": (0, 1)}, {"w0": 0.01, "sigma": 3}, {"sigma": 30}])
def test_a_border_term_left_out_is_one_that_changes_no_bit(border_on, options):
    random = np.random.RandomState(0)
    instances = np.zeros((1, 150, 140), np.int32)
    for number in range(1, 9):
        y, x = random.randint(140, size=2)
        instances[0, y : y + random.randint(1, 25), x : x + random.randint(1, 25)] = number
    d1, d2 = two_nearest_distances(instances[0])
    plain = WeightMap(**{**options, "w0": 0})(instances)[0]
    w0, sigma = options.get("w0", 10.0), options.get("sigma", 5.0)
    border = np.exp(np.square(d1 + d2) * np.float32(-0.5 / sigma**2)) * np.float32(w0)
    expected = plain + border * (instances[0] == 0) if border_on == "background" else plain + border
    assert WeightMap(border_on=border_on, **options)(instances)[0].tobytes() == expected.tobytes()


def chain(*between, keys=("label", "weight")) -> list:
    return [SeparateTouchingd("label", width=2), WeightMapd(), *between, CropToOutputd(keys, depth=1)]


@pytest.mark.parametrize("with_classes", [False, True])
@pytest.mark.parametrize("shape", [(64, 48), (28, 24, 20)])
def test_weights_of_what_is_kept_are_those_of_the_whole_map(shape, with_classes):
    random = np.random.RandomState(1)
    label = random.randint(-1, 5, [n // 4 for n in shape])
    for axis in range(len(shape)):
        label = label.repeat(4, axis)
    item = {"label": label[None].astype(np.int32)} | ({"class_of": np.array([0, 1, 2, 2, 1])} if with_classes else {})
    plain = chain(InstancesToClassd("label"))
    early = weigh_what_is_kept(plain)
    whole, kept = Compose(plain)(item), Compose(early)(item)
    assert all(np.asarray(whole[key]).tobytes() == np.asarray(kept[key]).tobytes() for key in ("label", "weight"))
    weight = early[1](early[0](item))["weight"]
    inner = (slice(None), *early[-1].crop.inner(shape))
    assert np.count_nonzero(weight) == np.count_nonzero(weight[inner]) > 0  # the others were left out
    assert plain[1].weight_map.inner is None


def test_all_is_weighed_where_something_else_comes_between_or_nothing_is_cut():
    for transforms in (chain(RandGrayCurved("weight")), chain(keys="label"), chain()[:2]):
        assert [a is b for a, b in zip(weigh_what_is_kept(transforms), transforms, strict=True)].count(False) == 0


def test_distances_refuse_what_is_no_image():
    with pytest.raises(ValueError, match=r"\(H, W\) or \(H, W, D\).*\(5,\)"):
        two_nearest_distances(np.ones(5, np.int32))
    with pytest.raises(ValueError, match="not empty"):
        two_nearest_distances(np.ones((0, 5), np.int32))
    with pytest.raises(ValueError, match="diagonal above"):
        two_nearest_distances(np.zeros((1, 50_000), np.int32))


@given(label_maps(), st.sampled_from(["everywhere", "background"]), st.sampled_from([1.0, 3.0, 10.0]))
@settings(max_examples=60, deadline=None)
def test_weights_equal_equation_2_read_literally(instances, border_on, max_balance):
    fast = WeightMap(max_balance=max_balance, border_on=border_on)(instances[None])[0]
    slow = reference.weight_map(instances, max_balance=max_balance, border_on=border_on)
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-5)


@given(label_maps(), st.sampled_from(["everywhere", "background"]), st.data())
@settings(max_examples=60, deadline=None)
def test_weights_of_several_classes_equal_equation_2_read_literally(instances, border_on, data):
    table = [0, *data.draw(st.lists(st.integers(1, 4), min_size=6, max_size=6))]
    fast = WeightMap(border_on=border_on)(instances[None], np.array(table))[0]
    slow = reference.weight_map(instances, border_on=border_on, class_of=dict(enumerate(table)))
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(
        WeightMap(border_on=border_on)(instances[None], np.array([0] + [1] * 6)),
        WeightMap(border_on=border_on)(instances[None]),
    )


@given(label_maps())
@settings(max_examples=40, deadline=None)
def test_one_kind_of_cell_keeps_the_bits_of_the_version_without_classes(instances):
    background, ignored = instances == 0, instances == -1
    n, n_background = instances.size - ignored.sum(), background.sum()
    both = 0 < n_background < n
    weights = [min(max(n / (2 * k), 0.1), 10.0) if both else 1.0 for k in (n_background, n - n_background)]
    expected = np.where(background, *np.array(weights, np.float32))
    d1, d2 = two_nearest_distances(instances)
    expected += np.exp(np.square(d1 + d2) * np.float32(-0.5 / 25)) * np.float32(10)
    expected[ignored] = 0
    assert WeightMap()(instances[None])[0].tobytes() == expected.astype(np.float32).tobytes()


def test_every_class_has_the_same_total_weight_and_only_those_present_count():
    instances = np.repeat([0, 1, 2, 3], [50, 30, 15, 5])[None, None].astype(np.int32)
    weight = WeightMap(w0=0)(instances, np.array([0, 5, 2, 2]))  # classes 0, 5 and 2
    for part in (instances == 0, instances == 1, instances > 1):
        assert weight[part].sum() == pytest.approx(100 / 3, rel=1e-5)


def test_weights_of_a_data_set_are_those_of_its_counts():
    assert balanced_weights([75, 25]) == [100 / 150, 2.0]
    assert balanced_weights([1000, 1, 0]) == [1001 / 2000, 10.0, 1.0]  # bounded, absent
    assert balanced_weights([0, 7, 0]) == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="class_weights has 2 numbers, none for class 3"):
        WeightMap(class_weights=(1, 2))(np.ones((1, 3, 3), np.int32), np.array([0, 3]))


volumes = arrays(np.int32, st.tuples(*[st.integers(1, n) for n in (7, 6, 5)]), elements=st.integers(-1, 4))
spacings = st.tuples(*[st.sampled_from([0.2, 0.25, 1.0, 1.7, 5.0]) for _ in range(3)])


@given(volumes, spacings)
@settings(max_examples=150, deadline=None)
def test_distances_in_physical_units(instances, spacing):
    found, expected = two_nearest_distances(instances, spacing), reference.two_nearest_distances(instances, spacing)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("spacing", [(0.3, 1.1, 2.5), (4, 4, 50)])
def test_physical_distances_over_long_ranges(spacing):
    instances = np.zeros((40, 50, 20), np.int32)
    places = np.random.RandomState(0).randint(instances.size, size=12)
    instances.flat[places] = np.arange(12) % 7 + 1
    found, expected = two_nearest_distances(instances, spacing), reference.two_nearest_distances(instances, spacing)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@given(volumes, spacings)
@settings(max_examples=15, deadline=None)
def test_weights_in_physical_units(instances, spacing):
    expected = reference.weight_map(instances, sigma=2.0, border_on="background", spacing=spacing)
    found = WeightMap(sigma=2.0, border_on="background", spacing=spacing)(instances[None])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_spacing_of_another_number_of_axes():
    for spacing in ((1, 1), (1, 1, 0)):
        with pytest.raises(ValueError, match="a number above 0 for each of 3 axes"):
            two_nearest_distances(np.ones((3, 3, 3), np.int32), spacing)


def test_border_term_by_hand():
    # two cells with 3 px of background between them: in its middle d1 = d2 = 2
    instances = np.zeros((1, 1, 7), np.int32)
    instances[0, 0, :2], instances[0, 0, 5:] = 1, 2
    weight = WeightMap(w0=10, sigma=5, class_weights=(1, 1))(instances)[0, 0]
    assert weight[3] == pytest.approx(1 + 10 * np.exp(-(4**2) / 50))
    assert weight[1] == pytest.approx(1 + 10 * np.exp(-(4**2) / 50))  # inside: d1 = 0, d2 = 4
    assert weight[0] == pytest.approx(1 + 10 * np.exp(-(5**2) / 50))
    on_background = WeightMap(w0=10, sigma=5, class_weights=(1, 1), border_on="background")(instances)[0, 0]
    np.testing.assert_allclose(on_background, np.where(instances[0, 0] > 0, 1, weight), rtol=1e-6)


def test_classes_are_balanced_and_their_mean_is_one(two_cells):
    weight = WeightMap(w0=0)(two_cells)
    cell, background = two_cells > 0, two_cells == 0
    assert weight[cell].sum() == pytest.approx(weight[background].sum(), rel=1e-5)
    assert weight[cell | background].mean() == pytest.approx(1, rel=1e-5)


def test_balance_is_bounded():
    instances = np.zeros((1, 100, 100), np.int32)
    instances[0, 50, 50] = 1
    weight = WeightMap(w0=0)(instances)
    assert weight[0, 50, 50] == 10
    assert WeightMap(w0=0, max_balance=1e9)(instances)[0, 50, 50] == 5000
    assert weight[0, 0, 0] == pytest.approx(10_000 / (2 * 9_999))


def test_class_weights_override_the_balance(two_cells):
    weight = WeightMap(w0=0, class_weights=(0.5, 3))(two_cells)
    np.testing.assert_array_equal(weight, np.select([two_cells < 0, two_cells == 0], [0, 0.5], 3))


def test_pixels_nobody_annotated_weigh_nothing_and_count_for_nothing(two_cells):
    weight = WeightMap()(two_cells)
    assert (weight[two_cells == -1] == 0).all()
    assert (weight[two_cells != -1] > 0).all()
    without = two_cells[:, :, :18]  # the ignored patch lies in columns 18 .. 23
    rest = np.where(np.arange(24) >= 18, -1, two_cells)
    np.testing.assert_allclose(WeightMap()(rest)[:, :, :18], WeightMap()(without), rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1, -1])
def test_one_class_only(value):
    instances = np.full((1, 6, 5), value, np.int32)
    np.testing.assert_array_equal(WeightMap()(instances), np.full((1, 6, 5), 0 if value == -1 else 1, np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w0": -1}, "w0 must be at least 0"),
        ({"sigma": 0}, "sigma must be above 0 px"),
        ({"max_balance": 0.5}, "max_balance must be at least 1"),
        ({"class_weights": (1,)}, "class_weights must be two numbers"),
        ({"class_weights": (1, -2)}, "class_weights must be two numbers"),
        ({"border_on": "cells"}, "everywhere, background, got 'cells'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WeightMap(**options)


def test_kinds_and_dictionary_form(kind, two_cells):
    data = {"label": kind(two_cells)}
    out = WeightMapd(w0=5, weight_key="w")(data)
    assert kind.is_kept_by(out["w"])
    np.testing.assert_array_equal(np.asarray(out["w"]), WeightMap(w0=5)(two_cells))
    assert np.asarray(out["w"]).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(out["label"]), two_cells)
    with pytest.raises(ValueError, match="keys must be one key"):
        WeightMapd(["a", "b"])
    assert WeightMapd("absent", allow_missing_keys=True)(data).keys() == data.keys()
