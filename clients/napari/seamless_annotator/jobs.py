"""Work beside the window, so that it never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Signal


class Jobs(QObject):
    """Runs functions in threads and hands what they return, or raise, to the window's thread."""

    _ended = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._ended.connect(self._call)

    def run(self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[Exception], None]) -> None:
        """Begin one.

        Args:
            work: called in a thread of its own, which ends with the program.
            done: gets what it returns.
            failed: gets what it raises.
        """

        def wrapped() -> None:
            try:
                call = partial(done, work())
            except Exception as error:  # whatever it is, the annotator is told
                call = partial(failed, error)
            with suppress(RuntimeError):  # the window has gone meanwhile
                self._ended.emit(call)

        threading.Thread(target=wrapped, daemon=True).start()

    def _call(self, call: Callable[[], None]) -> None:
        call()
