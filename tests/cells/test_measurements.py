"""Measurements of cells: known shapes, every number again by hand from the pixels, units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bundle.cells import measure

CELLS = arrays(np.int32, (7, 8), elements=st.sampled_from([0, 0, 1, 2, 3, 9]))


@settings(max_examples=60, deadline=None)
@given(CELLS, st.integers(0, 2**32 - 1))
def test_each_number_by_hand(cells, seed):
    image = np.random.RandomState(seed).uniform(60000, 60010, (2, 7, 8)).astype(np.float32)
    probability = np.random.RandomState(seed).rand(1, 7, 8).astype(np.float32)
    table = measure(cells, image, probability, ["red", "blue"], (0.5, 0.5))
    assert table["instance"].tolist() == [number for number in np.unique(cells) if number > 0]
    padded = np.pad(cells, 1)
    for row, number in enumerate(table["instance"]):
        x, y = np.nonzero(cells == number)
        got = {name: values[row] for name, values in table.items()}
        assert got["area_px"] == len(x) == 4 * got["area_um2"]
        assert (got["x_px"], got["y_px"]) == pytest.approx((x.mean(), y.mean()))
        assert got["equivalent_diameter_px"] == pytest.approx(2 * np.sqrt(len(x) / np.pi))
        assert got["equivalent_diameter_um"] == pytest.approx(got["equivalent_diameter_px"] / 2)
        assert got["touches_border"] == bool((x == 0).any() or (x == 6).any() or (y == 0).any() or (y == 7).any())
        near = {int(padded[i + a, j + b]) for i, j in zip(x, y, strict=True) for a in range(3) for b in range(3)}
        assert got["touching_neighbours"] == len(near - {0, number})
        for channel, name in enumerate(("red", "blue")):
            assert got[f"mean_{name}"] == pytest.approx(image[channel, x, y].astype(float).mean(), rel=1e-9)
            assert got[f"std_{name}"] == pytest.approx(image[channel, x, y].astype(float).std(), abs=1e-4)
        assert got["mean_probability"] == pytest.approx(probability[0, x, y].mean(), rel=1e-5)


def test_known_shapes():
    cells = np.zeros((60, 50), np.uint16)  # x, y
    x, y = np.ogrid[:60, :50]
    cells[(x - 25) ** 2 + (y - 20) ** 2 <= 15**2] = 1
    cells[45:57, 30:34] = 2
    cells[45:57, 40] = 3
    cells[46, 41] = 3
    table = measure(cells, spacing=(0.2, 0.2))
    disc, bar, _ = ({name: values[row] for name, values in table.items()} for row in range(3))
    assert disc["perimeter_px"] == pytest.approx(2 * np.pi * 15, rel=0.06)  # an estimate
    assert disc["eccentricity"] < 0.1
    assert disc["solidity"] > 0.95
    assert disc["perimeter_um"] == pytest.approx(disc["perimeter_px"] / 5)
    assert (bar["solidity"], bar["angle_deg"] % 180) == (1, 0)
    assert bar["major_axis_um"] / bar["minor_axis_um"] == pytest.approx(3, rel=0.05)
    assert table["solidity"][2] < 0.75
    assert table["area_um2"].tolist() == pytest.approx([each / 25 for each in table["area_px"]])


@pytest.mark.parametrize("degrees", [10, 45, 80, 100, 170])
def test_the_angle_counts_from_the_x_axis_counterclockwise_as_seen(degrees):
    x, y = np.mgrid[:81, :81] - 40.0
    along = x * np.cos(np.radians(degrees)) - y * np.sin(np.radians(degrees))  # y points down
    across = x * np.sin(np.radians(degrees)) + y * np.cos(np.radians(degrees))
    table = measure(((abs(along) < 30) & (abs(across) < 5)).astype(np.int32))
    assert table["angle_deg"][0] == pytest.approx(degrees, abs=1)


def test_volumes_have_voxels_and_a_stack_has_slices():
    cells = np.zeros((9, 8, 3), np.int32)
    cells[2:5, 2:6, 1] = 1
    cells[5:7, 2:6, 2] = 2
    volume = measure(cells, spacing=(0.5, 0.5, 2), volume=True)
    assert volume["voxels"].tolist() == [12, 8]
    assert volume["volume_um3"].tolist() == [6, 4]
    assert (volume["x_px"][0], volume["y_px"][0], volume["z_px"][0]) == (3, 3.5, 1)
    assert volume["equivalent_diameter_um"][0] == pytest.approx(np.cbrt(36 / np.pi))
    assert volume["touches_border"].tolist() == [0, 1]
    assert volume["touching_neighbours"].tolist() == [1, 1]
    assert "area_px" not in volume
    assert np.isnan(volume["solidity"]).all()  # flat: a hull without a volume
    slices = measure(cells, np.ones((1, 9, 8, 3)), spacing=(0.5, 0.5))
    assert slices["slice"].tolist() == [1, 2]
    assert slices["touches_border"].tolist() == slices["touching_neighbours"].tolist() == [0, 0]
    assert slices["area_um2"].tolist() == [3, 2]
    assert np.isnan(measure(cells, volume=True)["volume_um3"]).all()


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 2)])
@pytest.mark.parametrize("volume", [False, True])
def test_no_cells_have_the_same_columns(shape, volume):
    if volume and len(shape) == 2:
        return
    full = np.zeros(shape, np.int32)
    full[1:3, 1:4] = 1
    image = np.zeros((1, *shape))
    empty = measure(np.zeros(shape, np.int32), image, image, volume=volume)
    assert list(empty) == list(measure(full, image, image, volume=volume))
    assert all(len(values) == 0 for values in empty.values())


def test_sides_that_differ_leave_lengths_open_but_not_areas():
    cells = np.zeros((9, 9), np.int32)
    cells[2:5, 2:6] = 1
    table = measure(cells, spacing=(0.5, 1))
    assert table["area_um2"] == 6
    assert np.isnan(table["perimeter_um"]).all()
    assert np.isfinite(table["equivalent_diameter_um"]).all()


def test_the_probability_of_a_cell_is_that_of_its_class():
    cells = np.array([[1, 1, 0, 2]])
    probability = np.stack([np.full((1, 4), each) for each in (0.2, 0.5, 0.3)])
    assert measure(cells, probability=probability, class_of=np.array([0, 2, 1]))["mean_probability"].tolist() == [
        0.3,
        0.5,
    ]


def test_a_channel_that_is_called_as_the_networks_map_keeps_its_values():
    image = np.stack([np.full((5, 6), 3.0), np.full((5, 6), 40.0)])
    table = measure(np.ones((5, 6), np.int32), image, np.full((1, 5, 6), 0.5), ["raw", "probability"])
    means = {name: values.tolist() for name, values in table.items() if name.startswith("mean_")}
    assert means == {"mean_channel_0": [3], "mean_channel_1": [40], "mean_probability": [0.5]}
