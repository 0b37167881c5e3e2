"""Looks at the server once a second: whether it is there, and how its training and the proposal are doing."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import QTimer

from seamless_annotator.form import state_text
from seamless_annotator.server import AT_WORK, Away, Foreign, Server
from seamless_annotator.session import Session

_INTERVAL = 1000  # milliseconds


class Watch:
    """Connects the widget, once the server is there, and tells it what it sees.

    Args:
        annotator: the widget.

    Attributes:
        training: state of the last training.
        away: whether the server did not answer last time.
    """

    def __init__(self, annotator: Any) -> None:
        self.annotator = annotator
        self.training, self.away = "none", False
        self._looking: object | None = None
        self.timer = QTimer(annotator, interval=_INTERVAL)
        self.timer.timeout.connect(self._look)

    def begin(self) -> None:
        """Look, and go on looking; what an earlier look still brings is of an earlier server."""
        self.training, self.away, self._looking = "none", False, None
        self.timer.start()
        self._look()

    def _look(self) -> None:
        if self._looking is not None:
            return
        mine = self._looking = object()
        annotator = self.annotator
        session, proposing, address = annotator.session, annotator.proposing, annotator.form.address.text()

        def look() -> tuple[Session, Any, Any]:
            if session is None:
                return Session(Server(address)), None, None
            if self.away:
                session.require_same()
            return session, session.server.training(), session.server.progress() if proposing else None

        annotator.run(look, partial(self._seen, mine), partial(self._unseen, mine))

    def _seen(self, look: object, told: tuple[Session, Any, Any]) -> None:
        if look is not self._looking:
            return
        self._looking = None
        annotator, (session, training, progress) = self.annotator, told
        if annotator.session is None:
            annotator.session = session
            annotator.form.offer(session.about)
            annotator.say(f"connected; drafts are kept in {session.drafts.folder}")
            annotator.refresh()
        elif self.away:
            annotator.say("the server is there again")
            annotator.refresh()
        self.away = False
        if progress and progress["image"] == annotator.proposing:
            annotator.form.busy(progress["done"], progress["total"])
        if training:
            before, self.training = self.training, training["state"]
            annotator.form.show_training(training)
            if before in AT_WORK and self.training not in AT_WORK:
                self._trained(training)

    def _unseen(self, look: object, error: Exception) -> None:
        if look is not self._looking:
            return
        self._looking = None
        self.away = isinstance(error, Away)
        if isinstance(error, Foreign):
            self.timer.stop()  # somebody must look at it
        self.annotator.failed(error)

    def _trained(self, training: dict[str, Any]) -> None:
        annotator = self.annotator
        if training["state"] != "done":
            annotator.say(f"the training has ended: {state_text(training)}; the network is the earlier one")
            return
        annotator.say("trained; the new network is in use")
        if annotator.opened is not None and annotator.opened.proposed:  # by the network before, and untouched
            annotator.propose()
