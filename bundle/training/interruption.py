"""SIGTERM and Ctrl-C: training stops at the end of its step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine


class StopRequest:
    """Notes SIGTERM and SIGINT while an engine runs; who asks between two steps can then save and stop.

    An exception raised by the signal itself could come in the middle of an optimizer's step and leave half of the
    weights updated. A second signal does end the process at once, by SystemExit; a third one without any handler.

    Attributes:
        number: of the signal noted, 0 for none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._owner = 0
        self._group: Any = None

    def guard(self, engine: Engine) -> None:
        """Note signals from the start of ``engine.run()`` to its end, however that ends."""
        run = engine.run

        def guarded(*args: Any, **kwargs: Any) -> Any:
            with self._listening():
                return run(*args, **kwargs)

        # not by events: Ignite stops at the first handler of EXCEPTION_RAISED that raises again
        engine.run = guarded  # type: ignore[method-assign]

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name

    def wanted(self) -> bool:
        """Whether to stop now. Of several processes all must ask, and all get the same answer."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return self.number != 0
        if self._group is None:
            # on the CPU: a GPU would have to finish its queue before it could answer
            self._group = dist.new_group(backend="gloo")
        number = torch.tensor(self.number)
        dist.all_reduce(number, dist.ReduceOp.MAX, group=self._group)
        self.number = int(number)
        return self.number != 0

    @contextmanager
    def _listening(self) -> Iterator[None]:
        self.number, self._owner = 0, os.getpid()
        before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # None: set by another language; ignored: nohup, or the background of a shell, wants it so
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    before[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if os.getpid() != self._owner:
            return  # a worker of the data loader: its parent decides
        if self.number:
            for other in (signal.SIGTERM, signal.SIGINT):
                signal.signal(other, signal.SIG_DFL)
            raise SystemExit(128 + number)
        self.number = number
        # by the system: the interrupted code may be in the middle of a print
        os.write(2, f"\n{self.name}: stopping after this step; once more to stop at once, unsaved\n".encode())
