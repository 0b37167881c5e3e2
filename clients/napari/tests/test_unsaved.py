"""Nothing that was drawn is lost or mixed up, whatever becomes of server and disk: in a window, without a server."""

from __future__ import annotations

import os
import threading
import time
from typing import ClassVar

import numpy as np
import pytest
from seamless_annotator import watch
from seamless_annotator.server import Away, Server

from tests.display import require_window

require_window()

from napari import Viewer  # noqa: E402
from seamless_annotator.widget import Annotator  # noqa: E402

PATIENCE = 60_000  # milliseconds; how long things take says nothing here, only that they end


class Told(Server):
    """A server's answers without one; ``gone`` and ``held`` are what becomes of it."""

    gone: ClassVar[set[str]] = set()
    held: ClassVar[dict[str, threading.Event]] = {}
    trained = "none"

    def _of(self, content):
        if self.address in self.held:
            self.held[self.address].wait(PATIENCE / 1000)
        if self.address in self.gone:
            raise Away(f"no answer from {self.address}")
        return content

    def about(self):
        about = {"classes": ["background", "cell"], "strategies": ["first"], "studies": self.address}
        return self._of({**about, "cells": {"threshold": 0.5, "min_size": 0}})

    def images(self):
        return self._of([{"name": name, "file": f"{name}.tif", "state": "none"} for name in ("a", "b")])

    def image(self, name):
        return self._of(np.zeros((20, 30, 1), np.uint8))

    def label(self, name, tag="final"):
        return self._of(None)

    def training(self):
        return self._of({"state": self.trained, "message": "as told"})

    def propose(self, name, options=None):
        cells = np.ones((20, 30), np.int32)
        maps = dict.fromkeys(("probability", "uncertainty"), np.ones((20, 30), np.float16))
        return self._of({"cells": cells, "classes": np.array([0, 1]), **maps})


@pytest.fixture
def annotator(qtbot, monkeypatch, tmp_path):
    """With the image "a" of "http://one" open."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(watch, "Server", Told)
    monkeypatch.setattr(Told, "gone", set())
    monkeypatch.setattr(Told, "held", {})
    viewer = Viewer(show=False)
    widget = Annotator(viewer, "http://one")
    qtbot.waitUntil(lambda: widget.form.images.count() == 2, timeout=PATIENCE)
    widget.open("a")
    qtbot.waitUntil(lambda: widget.opened is not None, timeout=PATIENCE)
    yield widget
    widget.close()
    viewer.close()


def draw(annotator):
    annotator.layers.cells.data_setitem((np.arange(5, 9), np.full(4, 7)), 1)


def kept(annotator):
    found = annotator.session.drafts.load("a")
    return None if found is None else int(found[0].sum())


def test_a_draft_that_could_not_be_written_beside_the_window_holds_the_image(annotator, qtbot, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        draw(annotator)
        qtbot.waitUntil(lambda: "THE DRAFT IS NOT SAVED" in annotator.form.message.text(), timeout=PATIENCE)
        annotator.open("b")
        qtbot.wait(300)
        assert annotator.opened.name == "a"
    qtbot.waitUntil(lambda: kept(annotator) == 4, timeout=PATIENCE)  # without another change


def test_a_window_that_closes_waits_for_the_draft_in_work(annotator, qtbot, monkeypatch):
    sync, begun = os.fsync, threading.Event()

    def slow(file):
        begun.set()
        time.sleep(1)
        sync(file)

    monkeypatch.setattr(os, "fsync", slow)
    draw(annotator)
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE)
    annotator.close()
    assert kept(annotator) == 4


def test_what_is_submitted_to_a_server_that_has_gone_is_a_draft(annotator, qtbot):
    Told.gone.add("http://one")
    draw(annotator)
    annotator.submit()
    qtbot.waitUntil(lambda: annotator.layers.cells.editable, timeout=PATIENCE)
    annotator.close()
    assert kept(annotator) == 4


def test_another_server_is_connected_while_the_first_is_asked(annotator, qtbot):
    free = Told.held["http://one"] = threading.Event()
    qtbot.waitUntil(lambda: annotator.watch._looking is not None, timeout=PATIENCE)
    annotator.propose()
    annotator.open("b")
    annotator.form.address.setText("http://two")
    annotator.connect_server()
    qtbot.waitUntil(lambda: annotator.session is not None, timeout=PATIENCE)
    free.set()
    qtbot.wait(500)
    assert annotator.session.server.address == "http://two"
    assert (annotator.opened, annotator.proposing, annotator.session.drafts.states()) == (None, None, {})


def test_a_server_that_is_connected_before_an_earlier_one_has_answered(annotator, qtbot):
    free = Told.held["http://slow"] = threading.Event()
    for address in ("http://slow", "http://two"):
        annotator.form.address.setText(address)
        annotator.connect_server()
    qtbot.wait(300)
    free.set()
    qtbot.waitUntil(lambda: annotator.session is not None, timeout=PATIENCE)
    assert annotator.session.server.address == "http://two"


def test_a_training_of_the_earlier_server_has_not_ended(annotator, qtbot, monkeypatch):
    monkeypatch.setattr(Told, "trained", "running")
    qtbot.waitUntil(lambda: annotator.watch.training == "running", timeout=PATIENCE)
    monkeypatch.setattr(Told, "trained", "none")
    annotator.form.address.setText("http://two")
    annotator.connect_server()
    qtbot.waitUntil(lambda: annotator.form.trained.toPlainText() == "as told", timeout=PATIENCE)
    assert annotator.form.message.text().startswith("connected")


def test_a_session_keeps_what_it_cannot_submit(annotator):
    session = annotator.session
    opened = session.open("b")
    Told.gone.add("http://one")
    with pytest.raises(Away):
        session.submit(opened)
    assert session.drafts.states() == {"b": "proposed"}
