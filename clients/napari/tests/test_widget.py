"""The widget in a real napari, with the real server: what an annotator does, and what may go wrong meanwhile."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import tifffile
from seamless_annotator.server import Server

from tests.display import require_window

#: milliseconds; how long things take says nothing here, only that they end
PATIENCE = int(os.environ.get("ANNOTATE_PATIENCE", "240")) * 1000

require_window()

from napari import Viewer  # noqa: E402
from seamless_annotator.widget import Annotator  # noqa: E402


@pytest.fixture
def viewer(qtbot):
    viewer = Viewer(show=False)
    yield viewer
    viewer.close()


@pytest.fixture
def annotator(viewer, real, qtbot):
    """Connected, without drafts of another test."""
    for file in (real.studies / "drafts").glob("*"):
        file.unlink()
    if not real.answers():
        real.start()
    widget = Annotator(viewer, real.url)
    viewer.window.add_dock_widget(widget)
    qtbot.waitUntil(lambda: widget.form.images.count() == 5, timeout=PATIENCE)
    yield widget
    widget.close()


def open_image(annotator, qtbot, name):
    annotator.open(name)
    qtbot.waitUntil(lambda: bool(annotator.opened and annotator.opened.name == name), timeout=PATIENCE)


def text_of(annotator, name):
    return annotator.form._items(name)[0].text()


def wait_for(annotator, qtbot, text):
    qtbot.waitUntil(lambda: text in annotator.form.message.text(), timeout=PATIENCE)


def test_next_propose_correct_submit_train_next(annotator, qtbot, real, truth):
    annotator.form.strategy.setCurrentText("border")
    annotator.form.next.click()
    qtbot.waitUntil(lambda: annotator.opened is not None, timeout=PATIENCE)
    assert annotator.form.score.text().startswith("score ")

    open_image(annotator, qtbot, "i0")
    annotator.form.threshold.setValue(0.3)
    annotator.form.propose.click()
    wait_for(annotator, qtbot, "proposed for i0")
    assert "(proposed)" in text_of(annotator, "i0")
    names = [layer.name for layer in annotator.layers.viewer.layers]
    assert names == ["i0", "probability", "uncertainty", "cells"]
    expected = Server(real.url).propose("i0", {"threshold": 0.3, "min_size": 20})
    cells, _ = annotator.session.numbering.decode(annotator.layers.cells.data)
    np.testing.assert_array_equal(cells > 0, expected["cells"] > 0)

    annotator.layers.cells.data[...] = annotator.session.numbering.encode(truth(0), np.minimum(np.arange(8), 1))
    annotator.layers.paint_not_annotated()
    annotator.layers.cells.paint((90, 75), annotator.layers.cells.selected_label)
    qtbot.waitUntil(lambda: "(draft)" in text_of(annotator, "i0"), timeout=PATIENCE)
    assert (real.studies / "drafts" / "i0.tif").is_file()
    annotator.form.submit.click()
    wait_for(annotator, qtbot, "px not annotated")
    assert not (real.studies / "drafts" / "i0.tif").is_file()
    qtbot.waitUntil(
        lambda: f"(annotated, {len(np.unique(truth(0))) - 1} cells)" in text_of(annotator, "i0"), timeout=PATIENCE
    )
    saved = tifffile.imread(real.studies / "labels" / "final" / "i0.tif")
    np.testing.assert_array_equal(saved > 0, (truth(0) > 0) & (saved >= 0))
    assert saved[90, 75] == -1

    open_image(annotator, qtbot, "i1")
    annotator.form.propose.click()
    wait_for(annotator, qtbot, "proposed for i1")
    annotator.form.epochs.setValue(2)
    annotator.form.train.click()
    qtbot.waitUntil(lambda: annotator.form.train.text() == "Stop", timeout=PATIENCE)
    qtbot.waitUntil(lambda: "epoch 2  loss" in annotator.form.trained.toPlainText(), timeout=PATIENCE)
    qtbot.waitUntil(lambda: annotator.form.train.text() == "Train", timeout=PATIENCE)
    assert annotator.form.trained.toPlainText().startswith("done")
    wait_for(annotator, qtbot, "proposed for i1")  # anew, by the new network
    again = Server(real.url).propose("i1", annotator.form.options())
    cells, _ = annotator.session.numbering.decode(annotator.layers.cells.data)
    np.testing.assert_array_equal(cells > 0, again["cells"] > 0)
    annotator.form.next.click()
    qtbot.waitUntil(lambda: annotator.opened.name != "i1" or "i1" in text_of(annotator, "i1"), timeout=PATIENCE)
    assert annotator.opened.name != "i0"


def test_a_training_is_stopped_and_the_network_stays(annotator, qtbot, real):
    model = real.app / "model" / "cells" / "models" / "model.pt"
    before = model.read_bytes()
    if Server(real.url).label("i0") is None:
        cells = np.zeros((96, 80), np.int32)
        cells[20:40, 20:40] = 1
        Server(real.url).submit("i0", cells, np.array([0, 1]), None)
    annotator.form.epochs.setValue(100_000)
    annotator.form.train.click()
    qtbot.waitUntil(lambda: "epoch 2  loss" in annotator.form.trained.toPlainText(), timeout=PATIENCE)
    annotator.form.train.click()
    qtbot.waitUntil(lambda: annotator.form.trained.toPlainText().startswith("stopped"), timeout=PATIENCE)
    wait_for(annotator, qtbot, "the network is the earlier one")
    assert model.read_bytes() == before


def test_lines_and_keys_change_cells_and_undo_takes_them_back(annotator, qtbot, viewer):
    open_image(annotator, qtbot, "i2")
    layers, cells = annotator.layers, annotator.layers.cells
    cells.data[...] = 0
    cells.data[10:30, 10:30], cells.data[10:30, 30:50] = 1, 2
    layers.use("join")
    assert annotator.form.tools["join"].isChecked()
    layers.draw([(20, 15), (20, 45)])
    assert set(np.unique(cells.data)) == {0, 1}
    qtbot.waitUntil(lambda: "(draft)" in text_of(annotator, "i2"), timeout=PATIENCE)
    cells.undo()
    assert annotator._draft.isActive()
    assert (cells.data[10:30, 30:50] == 2).all()
    cells.redo()
    assert (cells.data[10:30, 10:50] == 1).all()
    layers.use("split")
    layers.draw([(5, 25), (35, 25)])
    assert len(np.unique(cells.data[10:30, 10:50])) == 2
    assert (cells.data[10:30, 10:50] > 0).all()
    layers.draw([(15, 20), (20, 22)])
    assert "to split it" in annotator.form.message.text()
    viewer.cursor.position = (20, 12)
    layers.press("delete")
    assert cells.data[20, 12] == 0
    layers.paint_new()
    assert cells.selected_label not in np.unique(cells.data)
    cells.selected_label = 700  # of nobody annotated, and new: as of napari's own button
    assert annotator.session.numbering.class_of(np.array(cells.selected_label)) == 1
    assert (cells.mode, layers.tool) == ("paint", "")
    annotator.keep_now()
    kept = annotator.session.drafts.load("i2")[0]
    np.testing.assert_array_equal(kept, cells.data)


def test_a_stack_is_corrected_slice_by_slice(annotator, qtbot, viewer, real):
    open_image(annotator, qtbot, "stack")
    annotator.form.propose.click()
    wait_for(annotator, qtbot, "proposed for stack")
    cells = annotator.layers.cells
    assert cells.data.shape == (3, 96, 80)
    before = cells.data.copy()
    before[1], cells.data[1] = 0, 0
    cells.data[1, 40:60, 20:60] = 3
    viewer.dims.set_current_step(0, 1)
    annotator.layers.use("split")
    annotator.layers.draw([(30, 40), (70, 40)])
    assert len(np.unique(cells.data[1])) == 3
    np.testing.assert_array_equal(cells.data[[0, 2]], before[[0, 2]])
    annotator.form.submit.click()
    wait_for(annotator, qtbot, "stack submitted")
    assert tifffile.imread(real.studies / "labels" / "final" / "stack.tif").shape == (3, 96, 80)


def test_drafts_survive_a_server_that_is_killed_and_started_again(annotator, qtbot, real):
    open_image(annotator, qtbot, "i3")
    annotator.layers.cells.data_setitem((np.array([5, 6]), np.array([7, 7])), 1)
    real.stop(signal.SIGKILL)
    qtbot.waitUntil(lambda: (real.studies / "drafts" / "i3.tif").is_file(), timeout=PATIENCE)
    wait_for(annotator, qtbot, "is the server running?")
    annotator.form.submit.click()
    wait_for(annotator, qtbot, "is the server running?")
    assert annotator.layers.cells.editable
    real.start()
    wait_for(annotator, qtbot, "the server is there again")
    open_image(annotator, qtbot, "i2")
    open_image(annotator, qtbot, "i3")
    assert "the draft was restored" in annotator.form.message.text()
    assert annotator.layers.cells.data[5, 7] == annotator.layers.cells.data[6, 7] == 1


def test_two_windows_on_one_image(annotator, qtbot, real):
    open_image(annotator, qtbot, "i3")
    other = np.zeros((96, 80), np.int32)
    other[:9, :9] = 1
    Server(real.url).submit("i3", other, np.array([0, 1]), None)
    annotator.layers.cells.data_setitem((np.arange(40, 60), np.full(20, 50)), 1)
    annotator.form.submit.click()
    wait_for(annotator, qtbot, "was changed by someone else")
    qtbot.waitUntil(lambda: "theirs" in annotator.layers.viewer.layers, timeout=PATIENCE)
    assert "(draft)" in text_of(annotator, "i3")
    np.testing.assert_array_equal(Server(real.url).label("i3")[0], other)
    annotator.form.submit.click()
    wait_for(annotator, qtbot, "i3 submitted")
    assert Server(real.url).label("i3")[0][50, 50] > 0


def test_a_proposal_is_cancelled(annotator, qtbot, real, monkeypatch):
    tifffile.imwrite(real.studies / "wide.tif", np.random.default_rng(0).integers(0, 255, (3000, 3000), np.uint8))
    qtbot.waitUntil(lambda: annotator.refresh() or annotator.form.images.count() == 6, timeout=PATIENCE)
    open_image(annotator, qtbot, "wide")
    monkeypatch.setattr(annotator.form, "options", lambda: {"passes": 64})
    annotator.form.propose.click()
    qtbot.waitUntil(lambda: annotator.form.progress.maximum() > 0, timeout=PATIENCE)
    annotator.form.cancel.click()
    wait_for(annotator, qtbot, "was cancelled")
    assert not annotator.layers.cells.data.any()
    (real.studies / "wide.tif").unlink()
    annotator.layers.cells.data_setitem((np.array([5]), np.array([7])), 1)
    annotator.form.submit.click()
    wait_for(annotator, qtbot, "not in the studies")
    assert "the draft stays" in annotator.form.message.text()
    assert (real.studies / "drafts" / "wide.tif").is_file()


def test_what_is_corrected_while_the_network_works_stays(annotator, qtbot):
    open_image(annotator, qtbot, "i2")
    annotator.form.propose.click()
    annotator.layers.cells.data_setitem((np.arange(40, 60), np.full(20, 50)), 1)
    wait_for(annotator, qtbot, "you have worked on the image meanwhile")
    assert (annotator.layers.cells.data[40:60, 50] == 1).all()
    qtbot.waitUntil(lambda: "(draft)" in text_of(annotator, "i2"), timeout=PATIENCE)
    annotator.form.propose.click()
    wait_for(annotator, qtbot, "your earlier cells are in")
    kept = next(annotator.session.drafts.folder.glob("i2.*.kept.tif"))
    assert (tifffile.imread(kept)[40:60, 50] == 1).all()


def test_a_draft_that_cannot_be_written_holds_the_image(annotator, qtbot, monkeypatch):
    open_image(annotator, qtbot, "i2")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        annotator.layers.cells.data_setitem((np.arange(40, 60), np.full(20, 50)), 1)
        annotator.open("i3")
        assert "THE DRAFT IS NOT SAVED" in annotator.form.message.text()
        qtbot.wait(300)
        assert annotator.opened.name == "i2"
    annotator.open("i3")
    annotator.open("i0")  # the last one wins
    qtbot.waitUntil(lambda: annotator.opened.name == "i0", timeout=PATIENCE)
    qtbot.wait(500)
    assert annotator.opened.name == "i0"
    assert (annotator.session.drafts.load("i2")[0][40:60, 50] == 1).all()


def test_another_server_at_the_address_is_not_gone_on_with(annotator, qtbot):
    annotator.session.about = {**annotator.session.about, "classes": ["background", "nucleus"]}
    annotator.watch.away = True  # as after an answer that did not come
    wait_for(annotator, qtbot, "another server answers")
    assert not annotator.watch.timer.isActive()
    annotator.form.connect.click()
    wait_for(annotator, qtbot, "connected; drafts are kept in")
