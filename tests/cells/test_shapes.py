"""Shapes of all cells at once are those that skimage finds cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage as ndi
from skimage.measure import regionprops_table

from bundle.cells import strips
from bundle.cells.shapes import plane_shapes

SKIMAGE = (
    *("label", "area", "centroid", "perimeter", "axis_major_length", "axis_minor_length", "eccentricity"),
    *("orientation", "solidity"),
)
#: of pixels
NUMBERS = st.sampled_from([0, -1, 1, 2, 3, 70])


def require_equal(cells):
    found, expected = plane_shapes(cells), regionprops_table(cells.T, properties=SKIMAGE)
    assert set(found) == set(expected)
    expected["centroid-0"], expected["centroid-1"] = expected["centroid-1"], expected["centroid-0"]
    for name, values in expected.items():
        assert found[name].dtype == np.float64
        if name == "orientation":  # an axis has no sign
            values, found[name] = (np.exp(2j * each) for each in (values, found[name]))
        # the square root of what is not quite 0 there
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-6, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=13), elements=st.sampled_from([0, -1, 1, 2, 3, 70]))
)
def test_any_pixels(cells):
    require_equal(cells)


@pytest.mark.parametrize("strip", [2**20, 300])
def test_cells_of_many_px(monkeypatch, strip):
    monkeypatch.setattr(strips, "_STRIP", strip)
    noise = ndi.gaussian_filter(np.random.RandomState(1).normal(size=(90, 70)), 3)
    cells, count = ndi.label(noise > 0.02)
    assert count > 5
    require_equal(cells.astype(np.uint16))
    require_equal(cells + 1000 * (cells > 0))  # of a late slice of a stack


def test_an_axis_along_x_is_at_0_degrees():
    cells = np.zeros((9, 5), np.int32)
    cells[1:8, 2] = 1
    assert plane_shapes(cells)["orientation"] == -np.pi / 2
    assert plane_shapes(cells.T)["orientation"] == 0
