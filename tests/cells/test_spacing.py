"""Touching cells in volumes whose voxels are no cubes: what splits them is measured in physical units."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.feature import peak_local_max

from bundle.cells import CellOptions, probability_to_instances
from bundle.cells.regions import _distance, _peaks

MASKS = arrays(bool, array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6))
UNITS = st.tuples(*[st.sampled_from([1.0, 1.5, 4.0])] * 3)


def balls(spacing, radius, centres, size):
    """Balls in physical units on a grid of voxels."""
    grid = np.indices(size).T * spacing
    return np.any([((grid - np.array(centre)) ** 2).sum(-1) <= radius**2 for centre in centres], axis=0).T


@pytest.mark.parametrize("split_by", ["distance", "probability"])
@pytest.mark.parametrize("axis", [0, 2])
def test_balls_on_top_of_each_other_are_two(split_by, axis):
    spacing, size = (1.0, 1.0, 4.0), [28, 28, 7]
    size[axis] = int(44 / spacing[axis])
    first = np.array([14.0, 14.0, 12.0])
    second = first.copy()
    second[axis] += 14
    probability = balls(spacing, 8, (first, second), size) * 0.9
    options = {"split_by": split_by, "split_distance": 8}
    found = probability_to_instances(probability, **options, spacing=(0.5, 0.5, 2.0))
    assert found.max() == 2
    middle = int((first[axis] + 7) / spacing[axis])
    of_first = np.moveaxis(found, axis, 0)[:middle]
    assert len(np.unique(of_first[of_first > 0])) == 1
    if axis == 2 and split_by == "distance":  # voxels taken for cubes, they are three and a half apart
        assert probability_to_instances(probability, **options).max() == 1


@pytest.mark.parametrize("split_by", ["distance", "probability"])
@pytest.mark.parametrize("distance", [2, 4, 10])
def test_one_ball_is_one_cell_where_slices_are_further_apart_than_seeds(split_by, distance):
    probability = balls((1.0, 1.0, 5.0), 14, ([16.0, 16.0, 20.0],), (32, 32, 9)) * 0.9
    found = probability_to_instances(probability, split_by=split_by, split_distance=distance, spacing=(1, 1, 5))
    assert found.max() == 1


@given(MASKS, UNITS)
def test_distances_are_physical(inside, units):
    shape = tuple(n + 2 for n in inside.shape)
    box = tuple(slice(1, n + 1) for n in inside.shape)
    outside = np.argwhere(~np.pad(inside, 1))
    found = _distance(inside, box, shape, np.array(units))
    for place in product(*map(range, inside.shape)):
        steps = (outside - np.array(place) - 1) * units
        assert found[place] == pytest.approx(np.sqrt((steps**2).sum(1)).min() if inside[place] else 0)


@given(arrays(np.int8, array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6), elements=st.integers(0, 3)), UNITS,
       st.sampled_from([1.0, 2.0, 4.0, 6.0]))  # fmt: skip
def test_peaks_are_apart_in_physical_units(relief, units, distance):
    found = [tuple(peak) for peak in _peaks(relief.astype(float), distance, np.array(units))]
    places = list(product(*map(range, relief.shape)))

    def apart(a, b):
        return max(abs(i - j) * unit for i, j, unit in zip(a, b, units, strict=True))

    def near(a, b):  # or neighbours, however far apart they are
        return all(abs(i - j) <= max(1, distance / unit) for i, j, unit in zip(a, b, units, strict=True))

    tops = [a for a in places if all(relief[a] >= relief[b] for b in places if near(a, b))]
    expected = []
    for a in sorted(tops, key=lambda place: -relief[place]):
        if all(apart(a, b) >= distance for b in expected):
            expected.append(a)
    assert found == expected
    if set(units) == {1.0} and distance > 1 and len(set(relief.ravel())) > 1:
        same = peak_local_max(relief.astype(float), min_distance=int(distance), exclude_border=False, threshold_abs=-1)
        assert found == [tuple(peak) for peak in same]


def test_options():
    assert "spacing" not in CellOptions().told
    assert CellOptions(spacing=[1, 1, 2]).told["spacing"] == (1, 1, 2)
    for wrong in ([1, 0, 1], [1], "111", [1, True, 1]):
        with pytest.raises(ValueError, match="spacing must be null or a number above 0 for each axis"):
            CellOptions(spacing=wrong)
    with pytest.raises(ValueError, match="spacing must have 2 numbers, one for each axis of an image, got"):
        probability_to_instances(np.zeros((4, 4)), spacing=[1, 1, 2])
    wide = np.zeros((30, 12))
    wide[2:28, 3:9] = 1
    with_units = probability_to_instances(wide, split_by="distance", split_distance=4, spacing=(2, 2))
    np.testing.assert_array_equal(with_units, probability_to_instances(wide, split_by="distance", split_distance=4))
