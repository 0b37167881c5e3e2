"""Cells of several classes, read off the probabilities of all."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.cells import CellOptions, FindClassesd, probability_to_instances
from bundle.cells.classes import cells_of_each_class, likeliest_classes, options_of_classes, own_probability

NAMES = ("ground", "a", "b", "c")


@st.composite
def probabilities(draw):
    random = np.random.RandomState(draw(st.integers(0, 2**31)))
    shape = draw(st.sampled_from([(9, 11), (5, 6, 4)]))
    logits = random.randn(4, *shape) * draw(st.sampled_from([0.5, 3.0]))
    return torch.from_numpy(logits).softmax(0).numpy().astype(np.float32)


@given(probabilities(), st.sampled_from([0.2, 0.5]), st.sampled_from([0, 3]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_cells_of_each_class_lie_where_no_other_is_likelier(probability, threshold, min_size, more):
    changes = {"close_gaps": 1.0, "low_threshold": 0.1} if more else {"fill_holes": False}
    option = CellOptions(threshold=threshold, min_size=min_size, **changes)
    cells, table = cells_of_each_class(probability, [option] * 3)
    assert set(np.unique(cells)) <= set(range(len(table)))
    assert (np.diff(table) >= 0).all()
    for number in (1, 2, 3):
        own = own_probability(probability, number)
        alone = probability_to_instances(own, option)
        found = np.isin(cells, np.flatnonzero(table == number)) & (cells > 0)
        assert alone.max() == (table == number).sum()
        np.testing.assert_array_equal(found & (own > 0), (alone > 0) & (own > 0))
        if not more:
            np.testing.assert_array_equal(found, own > threshold if min_size == 0 else alone > 0)


def test_two_classes_are_the_cells_of_before():
    random = np.random.RandomState(0)
    p = random.rand(30, 31).astype(np.float32)
    option = CellOptions(close_gaps=1.0, min_size=2)
    cells, table = cells_of_each_class(np.stack([1 - p, p]), [option])
    np.testing.assert_array_equal(cells, probability_to_instances(p, option))
    assert (table[1:] == 1).all()


def test_a_filled_hole_leaves_a_cell_of_another_class_in_it():
    ring = np.zeros((3, 12, 12), np.float32)
    ring[0] = 1
    ring[:, 2:10, 2:10] = np.array([0.1, 0.8, 0.1])[:, None, None]
    ring[:, 4:8, 4:8] = np.array([0.1, 0.2, 0.7])[:, None, None]
    cells, table = cells_of_each_class(ring, [CellOptions()] * 2)
    np.testing.assert_array_equal(table, [0, 1, 2])
    assert (cells[4:8, 4:8] == 2).all()
    assert (cells == 1).sum() == 64 - 16


@given(probabilities())
@settings(max_examples=40, deadline=None)
def test_a_cell_has_the_class_of_the_highest_mean_probability(probability):
    cells = probability_to_instances(probability[1:].sum(0).clip(0, 1), CellOptions(threshold=0.6))
    table = likeliest_classes(cells, probability)
    assert table[0] == 0
    for number in range(1, int(cells.max()) + 1):
        means = [float(channel[cells == number].mean()) for channel in probability[1:]]
        assert means[table[number] - 1] == pytest.approx(max(means), abs=1e-6)


def test_options_of_single_classes():
    shared = CellOptions(threshold=0.6)
    options = options_of_classes(NAMES, shared, {"B": {"threshold": 0.3, "min_size": 9}})
    assert [each.threshold for each in options] == [0.6, 0.3, 0.6]
    assert [each.min_size for each in options] == [0, 9, 0]
    for wrong, message in (
        ({"d": {}}, "cells_of has no class 'd'"),
        ({"ground": {}}, "cells_of has no class 'ground'"),
        ({"a": {"treshold": 0.1}}, "did you mean cells#threshold"),
    ):
        with pytest.raises(ValueError, match=message):
            options_of_classes(NAMES, shared, wrong)
    with pytest.raises(ValueError, match="cells_of is for truth 'classes'"):
        options_of_classes(NAMES, shared, {"a": {}}, of_pixels=False)


@pytest.mark.parametrize("of_pixels", [True, False])
def test_the_dictionary_form_gives_maps_and_a_table(of_pixels):
    probability = torch.rand(4, 16, 17).softmax(0)
    together = torch.from_numpy(probability_to_instances(probability[1:].sum(0).clip(0, 1).numpy()))[None]
    find = FindClassesd("p", "cells", cell_class_key="of_cells", names=NAMES, of_pixels=of_pixels)
    out = find({"p": probability, "cells": together})
    np.testing.assert_array_equal(out["class_map"][0], probability.argmax(0))
    np.testing.assert_array_equal(out["of_cells"][0], out["cell_classes"][out["cells"][0]])
    assert out["class_map"].dtype == torch.uint8
    assert torch.equal(out["cells"], together) is not of_pixels
    with pytest.raises(ValueError, match="the network has 3 channels, the classes are ground, a, b, c"):
        find({"p": probability[:3], "cells": together})
    assert FindClassesd("p")({"p": 1}) == {"p": 1}


def test_how_cells_are_read_is_told_by_the_names_of_the_options():
    assert FindClassesd().words() == "threshold 0.5"
    spacing = CellOptions(spacing=(1.0, 1.0, 0.6 / 0.2))  # 2.9999999999999996
    assert FindClassesd(options=spacing).words() == "threshold 0.5, spacing 1 1 3"
    options = CellOptions(0.65, min_size=34, fill_holes=False, split_by="distance", low_threshold=0.5, spatial_dims=2)
    same = "threshold 0.65, min_size 34, fill_holes False, split_by distance, split_distance 10, low_threshold 0.5"
    assert FindClassesd(options=options).words() == FindClassesd(names=NAMES, options=options).words() == same
    other = FindClassesd(names=["none", "a", "b"], options=CellOptions(), options_of={"B": {"threshold": 0.3}})
    assert other.words() == "a: threshold 0.5; b: threshold 0.3"


@pytest.mark.parametrize("of_pixels", [True, False])
def test_an_image_without_a_cell_has_a_table_of_none(of_pixels):
    background = torch.zeros(4, 5, 6)
    background[0] = 1
    find = FindClassesd("p", "cells", names=NAMES, of_pixels=of_pixels)
    out = find({"p": background, "cells": torch.zeros(1, 5, 6, dtype=torch.int32)})
    assert out["cell_classes"].tolist() == [0]
    assert not out["cells"].any()
