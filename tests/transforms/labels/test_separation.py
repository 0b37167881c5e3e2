import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import distance_transform_cdt

from tests.reference.separation import separate, touching_pairs
from transforms import SeparateTouching, SeparateTouchingd

LABELS = st.one_of(
    arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(-1, 4)),
    arrays(np.int32, array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(-1, 4)),
)
#: labels of larger blocks, where ridges wider than the cells' details can form
BLOCKS = LABELS.map(lambda cells: cells.repeat(3, axis=0).repeat(4, axis=1))


@given(LABELS, st.sampled_from([1, 2]))
@settings(max_examples=80, deadline=None)
def test_equals_the_literal_reference(cells, width):
    np.testing.assert_array_equal(SeparateTouching(width)(cells[None])[0], separate(cells, width))


@given(st.one_of(LABELS, BLOCKS), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_no_two_instances_are_neighbours_and_only_contacts_change(cells, width):
    out = SeparateTouching(width)(cells[None])[0]
    assert touching_pairs(out) == []

    changed = out != cells
    assert (out[changed] == 0).all()
    assert (cells[changed] > 0).all()
    contact = np.zeros(cells.shape, bool)
    for here, _ in touching_pairs(cells):
        contact[here] = True
    assert set(cells[changed]) <= set(cells[contact])
    if contact.any():
        depth = distance_transform_cdt(~contact, "chessboard")
        assert depth[changed].max(initial=0) <= (width + 1) // 2 - 1


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_width_of_the_ridge_along_a_straight_contact(two_cells, width):
    out = SeparateTouching(width)(two_cells)
    row = out[0, 7]
    ridge = np.flatnonzero((row == 0) & (two_cells[0, 7] > 0))
    np.testing.assert_array_equal(ridge, np.arange(9 - width // 2, 9 + (width + 1) // 2))
    np.testing.assert_array_equal(out[0, 13:], two_cells[0, 13:])


def test_a_cell_near_the_contact_that_touches_nothing_is_unchanged():
    cells = np.zeros((1, 12, 12), np.int32)
    cells[0, :7, :6], cells[0, :7, 6:] = 1, 2
    cells[0, 8, 4:8] = 3
    out = SeparateTouching(5)(cells)
    np.testing.assert_array_equal(out[0, 8], cells[0, 8])
    assert (out[0, 6] == 0).sum() == 5


def test_width_0_lets_regions_touch(two_cells):
    np.testing.assert_array_equal(SeparateTouching(0)(two_cells), two_cells)


@pytest.mark.parametrize("width", [-1, 1.5, True])
def test_impossible_widths_are_refused(width):
    with pytest.raises(ValueError, match="width must be an integer of at least 0 px"):
        SeparateTouching(width)


def test_kinds_and_dictionary_form(kind, two_cells):
    out = SeparateTouchingd("label", width=2)({"label": kind(two_cells)})["label"]
    assert kind.is_kept_by(out)
    np.testing.assert_array_equal(np.asarray(out), SeparateTouching(2)(two_cells))
    assert np.asarray(out).dtype == np.int32
