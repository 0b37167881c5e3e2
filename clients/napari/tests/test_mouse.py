"""Mouse and keys in a window that is shown, without a server."""

from __future__ import annotations

import numpy as np
import pytest

from tests.display import require_window

require_window()

from napari import Viewer  # noqa: E402
from qtpy.QtCore import QPoint, Qt  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from seamless_annotator.layers import Layers  # noqa: E402
from seamless_annotator.numbering import Numbering  # noqa: E402
from seamless_annotator.session import Opened  # noqa: E402

PLAIN, CONTROL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def shown(qtbot):
    """Layers over one square cell, and what was said and changed."""
    viewer = Viewer(show=True)
    viewer.window.resize(1000, 800)
    numbers = np.zeros((96, 80), np.int32)
    numbers[20:70, 20:60] = 1
    told = []
    layers = Layers(viewer, lambda: told.append("changed"), told.append, lambda tool: None)
    layers.show(Opened("a", np.zeros((96, 80, 1), np.uint8), numbers, ""), Numbering(["background", "x", "y"]))
    QTest.qWait(500)
    yield viewer, layers, told
    viewer.close()


def point(viewer, row, column):
    """Where a pixel is in the canvas."""
    native, (y, x) = viewer.window._qt_viewer.canvas.native, viewer.camera.center[-2:]
    zoom = viewer.camera.zoom
    return QPoint(round(native.width() / 2 + (column - x) * zoom), round(native.height() / 2 + (row - y) * zoom))


def drag(viewer, start, end):
    native = viewer.window._qt_viewer.canvas.native
    QTest.mousePress(native, Qt.MouseButton.LeftButton, PLAIN, point(viewer, *start))
    for share in np.linspace(0, 1, 12):
        QTest.mouseMove(native, point(viewer, *(np.array(start) + share * np.subtract(end, start))))
        QTest.qWait(20)
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, PLAIN, point(viewer, *end))
    QTest.qWait(50)


def press(viewer, key, modifier=PLAIN):
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, key, modifier)
    QTest.qWait(100)


def test_keys_and_lines(shown):
    viewer, layers, told = shown
    cells, center = layers.cells, viewer.camera.center
    press(viewer, Qt.Key.Key_S)
    drag(viewer, (45, 10), (45, 70))
    assert viewer.camera.center == center  # the line has not moved the view
    assert [layer.name for layer in viewer.layers] == ["a", "cells"]
    assert len(np.unique(cells.data)) == 3
    assert (cells.data[20:70, 20:60] > 0).all()
    press(viewer, Qt.Key.Key_Z, CONTROL)
    assert len(np.unique(cells.data)) == 2
    press(viewer, Qt.Key.Key_Z, CONTROL | Qt.KeyboardModifier.ShiftModifier)
    assert len(np.unique(cells.data)) == 3
    assert told == ["changed"] * 3
    press(viewer, Qt.Key.Key_J)
    drag(viewer, (30, 40), (60, 40))
    assert len(np.unique(cells.data)) == 2
    drag(viewer, (5, 5), (10, 70))
    assert "to merge them" in told[-1]
    press(viewer, Qt.Key.Key_J)
    assert layers.tool == ""

    native = viewer.window._qt_viewer.canvas.native
    QTest.mouseMove(native, point(viewer, 30, 40))
    QTest.qWait(50)
    layers.choose(2)
    press(viewer, Qt.Key.Key_C)
    assert layers.numbering.class_of(cells.data[30, 40][None]) == 2
    assert len(np.unique(cells.data)) == 2
    press(viewer, Qt.Key.Key_D)
    assert not cells.data.any()
    press(viewer, Qt.Key.Key_D)
    assert told[-1] == "there is no cell under the cursor"
    press(viewer, Qt.Key.Key_N)
    assert (cells.mode, layers.numbering.class_of(np.array(cells.selected_label))) == ("paint", 2)
    drag(viewer, (30, 30), (30, 50))
    assert layers.numbering.class_of(cells.data[30, 40][None]) == 2
    press(viewer, Qt.Key.Key_U)
    drag(viewer, (80, 30), (80, 50))
    assert layers.numbering.class_of(cells.data[80, 40][None]) == -1


def test_of_a_volume_in_3d_nothing_is_changed(shown):
    viewer, layers, told = shown
    viewer.dims.ndisplay = 3
    layers.at((30, 40), "delete")
    assert "leave the 3D view" in told[-1]
    assert layers.cells.data.any()
