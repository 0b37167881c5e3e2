"""The search for cell options against trying by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.cells import CellOptions, probability_to_instances
from bundle.metrics.ctc import seg
from bundle.training.cell_search import Annotated, Fit, _Search, search_options, typical_size

NAMES = ["threshold", "low_threshold", "min_size", "close_gaps", "split_by", "split_distance"]


def discs(centres, radius=9.0, size=(60, 90), saddle=0.3, specks=0, seed=0):
    """Discs whose probability falls from 1 in the middle to ``saddle`` at their rims, and specks beside them."""
    x, y = np.mgrid[: size[0], : size[1]]
    distances = np.stack([np.hypot(x - a, y - b) for a, b in centres])
    nearest = distances.min(axis=0)
    truth = np.where(nearest < radius, distances.argmin(axis=0) + 1, 0)
    probability = np.clip(1 - (1 - saddle) * nearest / radius, 0, 1)
    random = np.random.RandomState(seed)
    for _ in range(specks):
        probability[random.randint(0, 8), random.randint(0, size[1])] = 1.0
    return Annotated(probability.astype(np.float32), truth)


PAIRS = discs([(20, 14), (20, 31), (20, 56), (20, 73), (46, 24), (46, 41), (46, 70)])


def test_cells_that_touch_are_parted():
    merged = CellOptions(threshold=0.3)
    best, *others = search_options([PAIRS], merged, NAMES)
    assert (best.found, best.invented) == (7, (0,))
    assert best.seg > 0.9
    assert next(fit for fit in others if fit.options == merged).found < 4


def test_splitting_is_found_where_thresholds_may_not_change():
    best = search_options([PAIRS], CellOptions(threshold=0.3), ["split_by", "split_distance"])[0]
    assert best.options.split_by is not None
    assert best.options.threshold == 0.3
    assert (best.found, best.invented) == (7, (0,))


def test_specks_give_a_smallest_size():
    image = discs([(30, 20), (30, 60)], specks=25)
    best = search_options([image], CellOptions(threshold=0.3), ["min_size"])[0]
    assert 1 < best.options.min_size < (image.truth == 1).sum() / 2
    assert best.invented == (0,)


def test_what_it_says_of_a_choice_is_what_the_metrics_say():
    images = [PAIRS, discs([(30, 20), (30, 60)], specks=25)]
    for fit in search_options(images, CellOptions(), NAMES)[::9]:
        found = [probability_to_instances(image.probability, fit.options) for image in images]
        assert fit.seg == pytest.approx(seg([image.truth for image in images], found))
        matched = 0
        for image, cells in zip(images, found, strict=True):
            for number in np.unique(cells[cells > 0]):
                own = cells == number
                ious = [(own & t).sum() / (own | t).sum() for t in (image.truth == n for n in range(1, 8)) if t.any()]
                matched += max(ious) > 0.5
        invented = sum(int(cells.max()) for cells in found) - matched
        assert fit.score == pytest.approx(fit.seg * 9 / (9 + invented))


def test_few_images_change_nothing_but_sizes_and_splitting():
    """Of many settings the best one on few images is worse on others."""
    start = CellOptions(threshold=0.5)
    image = discs([(30, 25), (30, 65)], saddle=0.35)  # a low threshold would fit better
    size = int(typical_size([image.truth]) / 10)
    few, six = (search_options([image] * count, start, NAMES) for count in (4, 6))
    assert (few[0].options.threshold, few[0].options.min_size) == (0.5, size)
    assert len(few) == 3  # as it was, with and without splitting
    assert six[0].options.foreground < 0.5
    assert six[0].score > few[0].score + 0.1


def test_cells_that_are_one_are_not_split():
    """What looks like two discs is one cell in the truth."""
    rods = PAIRS._replace(truth=PAIRS.truth.copy())
    for pair in ((1, 2), (3, 4), (5, 6)):
        rods.truth[np.isin(PAIRS.truth, pair)] = pair[0]
    best, *others = search_options([rods], CellOptions(threshold=0.3), NAMES)
    assert best.options.split_by is None
    assert best.score > max(fit.score for fit in others if fit.options.split_by)


@pytest.mark.parametrize(
    ("gains", "invented", "expected"),
    [
        ([0.4, 0, 0, 0, 0, 0], 0, False),  # only one image gains
        ([0.3, 0.3, 0.3, -0.1, -0.1, -0.1], 0, False),
        ([0.05] * 6, 0, True),
        ([0.05] * 3, 0, False),  # too few
        ([0.0005] * 6, 0, False),  # too little
        ([0.05] * 6, 3, False),
    ],
)
def test_gains_must_be_those_of_most_images(gains, invented, expected):
    none = (0,) * len(gains)
    now = Fit(CellOptions(), tuple(np.full(5, 0.5) for _ in gains), none, 0)
    tried = Fit(CellOptions(), tuple(np.full(5, 0.5 + gain) for gain in gains), (invented, *none[1:]), 0)
    assert tried.clearly_better(now) is expected
    assert not now.clearly_better(tried)
    assert not now.clearly_better(now)


@settings(max_examples=10, deadline=None)
@given(st.sets(st.sampled_from(NAMES)), st.integers(0, 3))
def test_what_is_given_stays(free, seed):
    start = CellOptions(threshold=0.4, low_threshold=0.3, min_size=3, close_gaps=2.0, split_distance=7.0)
    tried = search_options([discs([(30, 20), (30, 37)], specks=4, seed=seed)], start, free)
    for fit in tried:
        assert all(getattr(fit.options, name) == value for name, value in start.told.items() if name not in free)
    scores = [fit.score for fit in tried[1:]]
    assert scores == sorted(scores, reverse=True)
    assert start in [fit.options for fit in tried]


def test_pixels_that_nobody_annotated_invent_nothing():
    image = discs([(30, 20), (30, 60)], specks=25)
    image.truth[:8] = -1
    best = search_options([image], CellOptions(threshold=0.3), ["min_size"])[0]
    assert best.invented == (0,)


def test_the_typical_size_is_that_of_whole_cells():
    truth = np.zeros((40, 40), int)
    truth[:3, :30] = 1  # cut by the edge
    truth[10:14, 10:15], truth[20:26, 20:30], truth[30:32, 5:8] = 2, 3, 4
    assert typical_size([truth]) == 20
    assert typical_size([np.where(truth == 1, truth, 0)]) == 90
    assert typical_size([np.zeros((4, 4), int), np.full((4, 4), -1)]) == 0


def test_labels_may_have_any_number():
    assert typical_size([np.array([[0, 2**31 - 1, 0], [0, 2**31 - 1, 7]])]) == 1.5


def test_no_threshold_is_below_0():
    tried = _Search([PAIRS], set(NAMES), 1.0)._around(CellOptions(threshold=0.05))
    assert [each["threshold"] for each in tried] == [0.05, 0.15]


def test_nothing_annotated():
    with pytest.raises(ValueError, match="no image has an annotated cell"):
        search_options([Annotated(np.zeros((9, 9)), np.full((9, 9), -1))], CellOptions(), NAMES)
