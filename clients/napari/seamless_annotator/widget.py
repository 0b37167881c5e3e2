"""The widget beside napari's canvas: images, proposals, corrections, training."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QWidget

from seamless_annotator.form import Form
from seamless_annotator.jobs import Jobs
from seamless_annotator.layers import Layers
from seamless_annotator.server import AT_WORK, Changed, Refused
from seamless_annotator.session import Opened, Session
from seamless_annotator.watch import Watch

#: milliseconds from a change to its draft
_DRAFT = 1000


class Annotator(QWidget):
    """Correct cells with a server of this bundle.

    Args:
        napari_viewer: in which images are shown.
        address: of the server, to connect at once; the environment variable SEAMLESS_ANNOTATOR_SERVER says it, too.
    """

    def __init__(self, napari_viewer: Any, address: str | None = None) -> None:
        super().__init__()
        self.session: Session | None = None
        self.opened: Opened | None = None
        self.proposing: str | None = None
        self._wanted = ""
        self._edits = self._kept = 0  # changes of cells so far, and those that are in a draft
        self._jobs = Jobs(self)
        self.form = Form(self)
        self.layers = Layers(napari_viewer, self._changed, self.say, self.form.show_tool)
        self.form.bind(self)
        self.watch = Watch(self)
        self._draft = QTimer(self, singleShot=True, interval=_DRAFT)
        self._draft.timeout.connect(self._keep)
        QApplication.instance().aboutToQuit.connect(self.keep_now)
        for key, call in {"Control-Enter": self.submit, "Control-Right": self.next, "Control-P": self.propose}.items():
            napari_viewer.bind_key(key, lambda viewer, call=call: call(), overwrite=True)
        address = address or os.environ.get("SEAMLESS_ANNOTATOR_SERVER", "")
        if address:
            self.form.address.setText(address)
            self.connect_server()

    def say(self, text: str) -> None:
        """Tell the annotator something."""
        self.form.message.setText(text)

    def connect_server(self) -> None:
        """Connect to the server of the address; one that is not there yet is waited for."""
        if not self.keep_now():
            return
        self.session, self.opened = None, None
        self._end_proposal()
        self.layers.clear()
        self.say("connecting ...")
        self.watch.begin()

    def refresh(self) -> None:
        """Ask for the images and their states."""
        if self.session is not None:
            shown = self.opened.name if self.opened else ""
            self.run(self.session.images, lambda images: self.form.list_images(images, shown))

    def open(self, name: str) -> None:
        """Show an image; what was done to the one before is kept as its draft."""
        if self.session is not None and not (self.opened and self.opened.name == name) and self.keep_now():
            self._wanted = name
            self.say(f"opening {name} ...")
            self.run(partial(self.session.open, name), self._show)

    def next(self) -> None:
        """Show the image that the strategy chooses."""
        if self.session is not None and self.keep_now():
            self.say("choosing the next image ...")
            shown = self.opened.name if self.opened else ""
            self.run(partial(self.session.next, self.form.strategy.currentText(), shown), self._chosen)

    def propose(self) -> None:
        """Ask the network for the cells of the image."""
        session, opened = self.session, self.opened
        if session is None or opened is None or self.proposing or not self.keep_now():
            return
        self.proposing = opened.name
        self.say(f"segmenting {opened.name} ...")
        self.form.busy(0, 0)
        work = partial(session.server.propose, opened.name, self.form.options())
        self.run(work, partial(self._proposed, opened, self._edits), self._end_proposal)

    def cancel(self) -> None:
        """End the proposal in work."""
        if self.session is not None and self.proposing:
            self.run(partial(self.session.server.cancel, self.proposing), lambda _: None)

    def submit(self) -> None:
        """Save the cells as the label of the image."""
        session, opened, layer = self.session, self.opened, self.layers.cells
        if session is None or opened is None or layer is None or not self.keep_now():
            return
        edits, layer.editable = self._edits, False  # what is sent is what is seen
        self.say(f"submitting {opened.name} ...")

        def done(told: str) -> None:
            layer.editable = True
            if self._edits != edits and self.opened is opened:
                self._changed()  # by an undo meanwhile
            self.say(f"{opened.name} submitted: {told}")
            self.refresh()

        def failed(error: Exception) -> None:
            layer.editable = True
            self.failed(error)
            self.form.mark(opened.name, "draft")
            if isinstance(error, Changed):
                self.run(partial(session.server.label, opened.name), partial(self._compare, opened))

        self.run(partial(session.submit, opened), done, failed)

    def train(self) -> None:
        """Train on all labels, or stop the training in work."""
        if self.session is not None and self.watch.training in AT_WORK:
            self.say("stopping after this step ...")
            self.run(self.session.server.stop_training, lambda _: None)
        elif self.session is not None:
            self.say("the training begins ...")
            self.run(partial(self.session.server.train, self.form.epochs.value()), lambda _: None)

    def keep_now(self) -> bool:
        """Write the draft of what was changed, before anything else is done; whether nothing is left to write."""
        if self._kept != self._edits:
            self._draft.stop()
            try:
                self._write(self.session, self.opened)
            except OSError as error:
                self._not_kept(error)
                return False
            self._kept = self._edits
        return True

    def closeEvent(self, event: Any) -> None:
        """Nothing is lost."""
        self.watch.timer.stop()
        self.keep_now()
        super().closeEvent(event)

    def _changed(self) -> None:
        if self.opened is not None:
            self._edits += 1
            self.opened.edited, self.opened.proposed = True, False
            self._draft.start()

    def _keep(self) -> None:
        opened, edits = self.opened, self._edits
        if opened is None or self._kept == edits:
            return

        def done(_: Any) -> None:
            self._kept = max(self._kept, edits)
            self.form.mark(opened.name, "draft")

        self.run(partial(self._write, self.session, opened), done, self._not_kept)

    def _not_kept(self, error: Exception) -> None:
        self.failed(error)
        self._draft.start()  # until it can be written

    @staticmethod
    def _write(session: Session | None, opened: Opened | None) -> None:
        if session is not None and opened is not None:
            try:
                session.keep(opened)
            except OSError as error:
                raise OSError(f"THE DRAFT IS NOT SAVED: {error}") from error

    def _show(self, opened: Opened) -> None:
        if self.session is None or opened.name != self._wanted or not self.keep_now():
            return  # another one was asked for since, or a draft of what was changed since cannot be written
        self.opened = opened
        self.layers.show(opened, self.session.numbering)
        self.form.select(opened.name)
        self.say(opened.told or f"{opened.name}: {'x'.join(map(str, opened.numbers.shape))} px")

    def _chosen(self, chosen: dict[str, Any]) -> None:
        if not chosen:
            self.say("all other images have a label or a draft")
            return
        score = chosen.get("score")
        self.form.score.setText("" if score is None else f"score {score:.4g}")
        self.open(chosen["image"])

    def _proposed(self, opened: Opened, edits: int, arrays: Any) -> None:
        self._end_proposal()
        shown = self.opened is not None and self.opened.name == opened.name
        if self.session is None or (shown and (self._edits != edits or self.opened is not opened)):
            self.say("you have worked on the image meanwhile: it stays as it is; propose once more to replace it")
            return
        try:
            kept = self.session.proposed(opened, arrays)
        except (OSError, Refused) as error:
            self.failed(error)
            return
        self.form.mark(opened.name, "proposed")
        if shown:
            self.layers.refresh()
            self.layers.overlay(arrays)
        earlier = f"; your earlier cells are in {kept}" if kept else ""
        self.say(f"{int(arrays['cells'].max(initial=0))} cells proposed for {opened.name}{earlier}")

    def _end_proposal(self, error: Exception | None = None) -> None:
        self.proposing = None
        self.form.idle()
        if error is not None:
            self.failed(error)

    def _compare(self, opened: Opened, label: Any) -> None:
        if self.opened is opened and self.session is not None and label is not None:
            self.layers.compare(self.session.numbering.encode(*label[:2]))

    def failed(self, error: Exception) -> None:
        """Tell the annotator why something was not done."""
        self.say(f"{error}" if isinstance(error, (RuntimeError, OSError)) else f"{type(error).__name__}: {error}")

    def run(
        self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[Exception], None] | None = None
    ) -> None:
        """Do something beside the window, see :class:`seamless_annotator.jobs.Jobs`. What comes back when
        another server has been connected since is left out.
        """
        session = self.session

        def of_now(call: Callable[[Any], None], result: Any) -> None:
            if self.session is session:
                call(result)

        self._jobs.run(work, partial(of_now, done), partial(of_now, failed or self.failed))
