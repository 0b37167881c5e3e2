"""How far an inference is, and how it is asked to stop."""

from __future__ import annotations

import threading

from fastapi import HTTPException


class Progress:
    """How far the inference in work is.

    Attributes:
        image: of a proposal, its name; None while there is none.
        done, total: tiles.
    """

    def __init__(self) -> None:
        self.begin(None)

    def begin(self, image: str | None) -> None:
        """A proposal begins, in this thread; None: it has ended."""
        self.image, self.done, self.total, self.cancelled = image, 0, 0, False
        self._thread = threading.get_ident()

    def tile(self, done: int, total: int) -> None:
        if self._thread != threading.get_ident():  # an inference of another request, while this one waits for its turn
            return
        if self.cancelled:
            raise HTTPException(409, f"the proposal of image {self.image!r} was cancelled")
        self.done, self.total = done, total
