"""Which layers an image gets, without a window."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from seamless_annotator.layers import Layers
from seamless_annotator.numbering import Numbering
from seamless_annotator.session import Opened

NUMBERING = Numbering(["background", "x", "y"])


def shown(image, told=None):
    viewer = ViewerModel()
    viewer.add_points(name="mine")
    layers = Layers(viewer, lambda: None, (told if told is not None else []).append, lambda tool: None)
    layers.show(Opened("a", image, np.zeros(image.shape[:-1], np.int32), ""), NUMBERING)
    return viewer, layers


@pytest.mark.parametrize(
    ("shape", "dtype", "images"),
    [
        ((40, 50, 1), np.uint8, 1),
        ((40, 50, 3), np.uint8, 1),
        ((40, 50, 3), np.uint16, 3),
        ((3, 40, 50, 1), np.float32, 1),
        ((3, 40, 50, 3), np.uint8, 1),
        ((3, 40, 50, 2), np.uint16, 2),
    ],
)
def test_gray_colour_channels_and_stacks(shape, dtype, images):
    image = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    viewer, layers = shown(image)
    assert len(viewer.layers) == images + 2
    assert viewer.layers[-1].name == "cells"
    assert viewer.layers[-1].data.shape == shape[:-1]
    assert all(layer.data.shape[: len(shape) - 1] == shape[:-1] for layer in viewer.layers[1:])
    assert [bool(getattr(layer, "rgb", False)) for layer in viewer.layers].count(True) == (
        shape[-1] == 3 and dtype == np.uint8
    )
    maps = {name: np.full(shape[:-1], 0.5, np.float16) for name in ("probability", "uncertainty")}
    for _ in range(2):  # a second proposal replaces the maps
        layers.overlay(maps)
        assert [layer.name for layer in viewer.layers][-3:] == ["probability", "uncertainty", "cells"]
        assert viewer.layers.selection.active is layers.cells
    layers.compare(np.ones(shape[:-1], np.int32))
    layers.compare(np.ones((2, 2), np.int32))  # of an image that has changed: nothing to see
    assert [layer.name for layer in viewer.layers].count("theirs") == 1
    layers.clear()
    assert [layer.name for layer in viewer.layers] == ["mine"]


def test_a_stack_changes_on_the_slice_that_is_shown():
    viewer, layers = shown(np.zeros((3, 40, 50, 1), np.uint8))
    layers.cells.data[:] = 1
    layers.cells.data[0] = 2
    viewer.dims.set_current_step(0, 2)
    layers.use("split")
    layers.draw([(20, -2), (20, 60)])
    assert [len(np.unique(plane)) for plane in layers.cells.data] == [1, 1, 2]
    layers.cells.editable = False  # while it is submitted
    layers.at((2, 5, 5), "delete")
    assert (layers.cells.data[2] > 0).all()
    layers.cells.editable = True
    layers.at((2, 5, 5), "delete")
    assert [bool((plane == 0).any()) for plane in layers.cells.data] == [False, False, True]


def test_a_proposal_is_not_mixed_with_what_was_before_by_an_undo():
    _, layers = shown(np.zeros((40, 50, 1), np.uint8))
    layers.cells.data_setitem((np.array([5]), np.array([5])), 1)
    layers.cells.data[:] = 8
    layers.refresh()
    layers.cells.undo()
    assert (layers.cells.data == 8).all()
