"""Statistics of score maps against their definitions, one pixel or one frequency at a time."""

import math

import numpy as np
import pytest

from bundle.studies.feature_maps.map_statistics import STATISTICS, SUM, MapStatistics, statistics_of, weakest


def with_sum(maps):
    count = len(next(iter(maps.values())))
    return {**maps, SUM: [sum(own[k] for own in maps.values()) for k in range(count)]}


@pytest.fixture
def drawn():
    random = np.random.RandomState(0)
    truths = [random.randint(-1, 3, shape) for shape in ((5, 7), (4, 3))]
    maps = {name: [random.randn(*truth.shape) for truth in truths] for name in ("F1", "F2", "F3")}
    return with_sum(maps), truths


def pixels(maps, truths):
    """(value, whether cell) of each annotated pixel."""
    pairs = [(v, t) for m, truth in zip(maps, truths, strict=True) for v, t in zip(m.flat, truth.flat, strict=True)]
    return [(value, int(label > 0)) for value, label in pairs if label >= 0]


def test_contrast_is_the_difference_of_the_class_means_and_adds_up(drawn):
    maps, truths = drawn
    found = statistics_of(maps, truths)
    for name, own in maps.items():
        known = pixels(own, truths)
        cell, background = ([value for value, inside in known if inside == kind] for kind in (1, 0))
        assert found[name].contrast == pytest.approx(sum(cell) / len(cell) - sum(background) / len(background))
        assert found[name].std == pytest.approx(np.std(cell + background))
    assert found[SUM].contrast == pytest.approx(sum(found[name].contrast for name in ("F1", "F2", "F3")))


def test_leftover_is_the_correlation_with_what_a_line_through_the_others_leaves(drawn):
    maps, truths = drawn
    found = statistics_of(maps, truths)
    for name in ("F1", "F2", "F3"):
        values, truth = map(np.array, zip(*pixels(maps[name], truths), strict=True))
        others = np.array([value for value, _ in pixels(maps[SUM], truths)]) - values
        slope, offset = np.polyfit(others, truth, 1)
        left = truth - slope * others - offset
        assert found[name].leftover == pytest.approx(np.corrcoef(values, left)[0, 1])
    values, truth = zip(*pixels(maps[SUM], truths), strict=True)
    assert found[SUM].leftover == pytest.approx(np.corrcoef(values, truth)[0, 1])


def frequency(image):
    """The definition with every cosine of the transform written out; an image goes on mirrored."""
    height, width = image.shape
    image = image - image.mean()
    moment = total = 0.0
    for v in range(height):
        for u in range(width):
            rows = np.cos(np.pi * v * (2 * np.arange(height) + 1) / (2 * height))
            columns = np.cos(np.pi * u * (2 * np.arange(width) + 1) / (2 * width))
            share = (1 if v else 0.5) * (1 if u else 0.5)
            power = share * (rows @ image @ columns) ** 2 / (height * width)
            moment += math.hypot(v / (2 * height), u / (2 * width)) * power
            total += power
    return moment / total


def test_frequency_is_how_near_the_map_s_mean_frequency_is_to_the_truth_s():
    random = np.random.RandomState(1)
    truth = random.randint(0, 2, (6, 8))
    maps = with_sum({"F1": [random.randn(6, 8)], "F2": [np.cumsum(random.randn(6, 8), axis=1)]})
    found = statistics_of(maps, [truth])
    for name, (own,) in maps.items():
        one, other = frequency(own), frequency((truth > 0).astype(float))
        assert found[name].frequency == pytest.approx(min(one, other) / max(one, other))


def test_a_map_as_fine_as_the_truth_has_1_and_blurred_and_grainy_ones_less():
    rows, columns = np.mgrid[:64, :64]
    truth = (np.sin(2 * np.pi * columns / 8) > 0).astype(int)
    maps = with_sum({"F1": [truth * 3.0 - 1], "F2": [np.sin(2 * np.pi * columns / 32)], "F3": [(rows % 2) * 1.0]})
    found = statistics_of(maps, [truth])
    assert found["F1"].frequency == pytest.approx(1)
    assert found["F2"].frequency < 0.5
    assert found["F3"].frequency < 0.5


def test_offset_and_unannotated_pixels_change_nothing(drawn):
    maps, truths = drawn
    found = statistics_of(maps, truths)
    moved = {
        name: [np.where(truth < 0, 99.0, each + 5) for each, truth in zip(own, truths, strict=True)]
        for name, own in maps.items()
    }
    for name, own in statistics_of(moved, truths).items():
        assert own == pytest.approx(found[name])


def test_a_branch_that_says_nothing_does_least_by_all_statistics():
    random = np.random.RandomState(2)
    truth = random.randint(0, 2, (16, 16))
    maps = with_sum({"F1": [truth + random.randn(16, 16)], "F2": [np.full((16, 16), 2.5)]})
    found = statistics_of(maps, [truth])
    assert found["F2"] == MapStatistics(0, 0, 0, 0)
    for statistic in STATISTICS:
        assert weakest({name: getattr(found[name], statistic) for name in ("F1", "F2")}, statistic) == "F2"


@pytest.mark.parametrize("label", [0, 1, -1])
def test_without_one_of_the_classes_no_branch_is_the_weakest(label):
    found = statistics_of(with_sum({"F1": [np.arange(9.0).reshape(3, 3)]}), [np.full((3, 3), label)])
    assert math.isnan(found["F1"].contrast)
    for statistic in STATISTICS:
        with pytest.raises(ValueError, match=f"cells or background only, so no map has a {statistic}"):
            weakest({"F1": getattr(found["F1"], statistic)}, statistic)
