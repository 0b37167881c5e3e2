"""Pictures show what they claim: outlines on the cells' own pixels, neighbours in different colours."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage as ndi

from bundle.cells import strips
from bundle.output import overlay as module
from bundle.output.overlay import cell_colours, overlay, stretch
from bundle.output.pictures import panel_and_boxes
from tests.reference.overlay import overlay as whole_overlay


def mosaic(rows=6, columns=7, size=9):
    """Square cells one pixel apart."""
    cells = np.kron(np.arange(1, rows * columns + 1).reshape(rows, columns), np.ones((size, size), int))
    cells[::size] = 0
    cells[:, ::size] = 0
    return cells


def test_stretch_uses_the_whole_range_and_survives_constants():
    image = np.linspace(100, 300, 10_000).reshape(100, 100)
    gray = stretch(image)
    assert (gray.shape, gray.min(), gray.max()) == ((100, 100, 3), 0, 1)
    assert (gray == 0).mean() == pytest.approx(0.005, abs=0.001)
    assert (stretch(np.full((4, 4), 7)) == 0.5).all()
    assert stretch(np.eye(100)).max() == 1  # a hundredth of the pixels is all there is
    with pytest.raises(ValueError, match=r"HW \(gray\) or HWC of at least 2 channels, got \(3, 4, 1\)"):
        stretch(np.zeros((3, 4, 1)))


def test_channels_are_stretched_one_by_one_and_added_in_colours():
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    first, second, third = 5 * ramp, 1000 - 3 * ramp, np.rot90(ramp)
    channels = [stretch(each)[..., 0] for each in (first, second, third)]
    two = stretch(np.stack([first, second], axis=-1))
    np.testing.assert_allclose(two[..., 0], channels[0], atol=1e-3)  # magenta and green
    np.testing.assert_array_equal(two[..., 2], two[..., 0])
    np.testing.assert_allclose(two[..., 1], channels[1], atol=1e-3)
    image = np.stack([first, second, third], axis=-1)
    np.testing.assert_allclose(stretch(image), np.stack(channels, axis=-1), atol=1e-3)
    other = stretch(np.concatenate([image, image[..., :1]], axis=-1))  # cyan, magenta, yellow; the fourth is not shown
    np.testing.assert_allclose(other[..., 0], (channels[1] + channels[2]) / 2, atol=1e-3)
    np.testing.assert_allclose(other[..., 1], (channels[0] + channels[2]) / 2, atol=1e-3)
    np.testing.assert_allclose(other[..., 2], (channels[0] + channels[1]) / 2, atol=1e-3)
    np.testing.assert_array_equal(stretch(image, colours=False), other)
    none = np.zeros((8, 8), int)
    np.testing.assert_array_equal(overlay(image, none, colours=False), np.round(other * 255).astype(np.uint8))


def test_more_cells_than_can_be_told_apart_take_the_colours_in_turn_in_little_memory():
    side = 400
    cells = np.arange(side * side).reshape(side, side)
    tracemalloc.start()
    colours = cell_colours(cells)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * cells.size
    assert not colours[0].any()
    _, counts = np.unique(colours[1:], axis=0, return_counts=True)
    assert counts.max() - counts.min() <= 1
    assert len(counts) == 8


def test_neighbours_differ_in_colour():
    cells = mosaic()
    colours = cell_colours(cells)
    for shift in ((2, 0), (0, 2), (2, 2), (2, -2)):
        moved = np.roll(cells, shift, axis=(0, 1))[2:-2, 2:-2]
        here = cells[2:-2, 2:-2]
        pairs = np.unique(np.stack([here, moved])[:, (here > 0) & (moved > 0) & (here != moved)], axis=1).T
        assert len(pairs) > 20
        assert all(np.abs(colours[a] - colours[b]).max() > 50 for a, b in pairs)


def test_cells_far_apart_share_the_palette_evenly():
    cells = np.zeros((400, 40), int)
    for label in range(1, 17):
        cells[label * 24 : label * 24 + 4, 10:14] = label
    _, counts = np.unique(cell_colours(cells)[1:], axis=0, return_counts=True)
    assert counts.tolist() == [2] * 8


def test_overlay_draws_outlines_tints_cells_and_leaves_the_rest():
    cells = np.zeros((40, 50), int)
    cells[5:20, 5:25] = 1
    cells[20:35, 5:25] = 2  # touches the first
    cells[0, 49] = -1
    image = np.random.default_rng(0).uniform(0, 200, cells.shape)
    plain, picture = overlay(image, np.zeros_like(cells)), overlay(image, cells, fill=0.5)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[cells <= 0], plain[cells <= 0])
    colours = cell_colours(np.maximum(cells, 0)).astype(np.uint8)
    for label in (1, 2):
        cell = cells == label
        outline = cell & ~ndi.binary_erosion(cell)
        assert (picture[outline] == colours[label]).all()
        half = (plain[cell & ~outline].astype(float) + colours[label]) / 2
        np.testing.assert_allclose(picture[cell & ~outline], half, atol=1)
    wide = overlay(image, cells, width=3)
    assert (wide[7, 7:23] == colours[1]).all()
    assert (wide[8, 8:22] != colours[1]).any()


def test_the_truth_is_outlined_in_yellow_above_the_cells():
    image = np.full((20, 30), 0.5, np.float32)
    found, truth = np.zeros((20, 30), int), np.zeros((20, 30), int)
    found[2:12, 2:12], truth[4:14, 4:16], truth[4:14, 16:24] = 1, 1, 2
    truth[17:, :5] = -1
    plain, drawn = overlay(image, found), overlay(image, found, truth=truth)
    yellow = (drawn == (255, 225, 0)).all(-1)
    expected = truth > 0
    expected[5:13, 5:15] = expected[5:13, 17:23] = False
    np.testing.assert_array_equal(yellow, expected)
    np.testing.assert_array_equal(drawn[~yellow], plain[~yellow])
    with pytest.raises(ValueError, match=r"truth must have the size of the image, \(20, 30\), got \(20, 29\)"):
        overlay(image, found, truth=truth[:, 1:])


def test_overlay_keeps_colour_and_checks_sizes():
    image = np.zeros((10, 12, 3))
    image[:, 6:, 0] = 1
    assert (overlay(image, np.zeros((10, 12), int))[:, 6:] == (255, 0, 0)).all()
    with pytest.raises(ValueError, match=r"size of the image, \(10, 12\), got \(12, 10\)"):
        overlay(image, np.zeros((12, 10), int))


def test_panel_grows_by_a_step_for_each_part_and_leaves_pyplot_alone():
    loaded = "matplotlib.pyplot" in sys.modules
    image = np.random.default_rng(0).normal(size=(60, 60))
    cells = np.zeros((60, 60), int)
    cells[10:30, 10:30] = 4
    parts = {"label": cells, "weight": 1.0 + cells, "probability": cells / 8, "instances": cells}
    widths = [panel_and_boxes(image)[0].shape[1]]
    for count in range(1, 5):
        picture = panel_and_boxes(image, **dict(list(parts.items())[:count]), title="a")[0]
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        widths.append(picture.shape[1])
    assert widths == [widths[0] * n for n in (1, 2, 3, 4, 5)]
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_panel_shows_the_weight_map_in_colour_and_the_probability_in_gray():
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)

    def colourfulness(**part):
        picture = panel_and_boxes(np.zeros((64, 64)), **part)[0].astype(int)
        second = picture[:, picture.shape[1] // 2 :]
        return (second.max(axis=2) - second.min(axis=2)).max()

    assert colourfulness(weight=10 * ramp) > 100
    assert colourfulness(probability=ramp) < 10
    assert panel_and_boxes(np.zeros((64, 64)), weight=np.zeros((64, 64)))[0].size  # a map of zeros has a range too


@pytest.mark.parametrize("colour", [False, True])
def test_strips_draw_what_the_whole_image_at_once_does(monkeypatch, colour):
    monkeypatch.setattr(strips, "_STRIP", 16 * 83)
    random = np.random.default_rng(3)
    cells, _ = ndi.label(ndi.gaussian_filter(random.normal(size=(101, 83)), 2) > 0.05)
    image = random.uniform(0, 255, (*cells.shape, 3) if colour else cells.shape)
    for width in (1, 3):
        np.testing.assert_array_equal(overlay(image, cells, width=width), whole_overlay(image, cells, width))


def test_a_large_image_is_scaled_down(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST_PX", 100)
    cells = np.zeros((250, 130), int)
    cells[60:120, 30:90] = 1
    image = np.zeros(cells.shape, np.uint8)
    image[:, 65:] = 200
    picture = overlay(image, cells)
    assert picture.shape == (83, 43, 3)  # every third pixel: 250 / 3, 130 / 3
    assert picture[70, 5].tolist() == [0, 0, 0]
    assert picture[70, 40].tolist() == [255, 255, 255]
    drawn = np.flatnonzero((picture[:, 20] != picture[70, 20]).any(axis=1))
    assert (drawn[0], drawn[-1]) == (20, 39)
