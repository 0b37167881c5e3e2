"""Images are postprocessed and written in a thread, while the network computes the next one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from queue import Queue
from threading import Thread
from typing import Any

from ignite.engine import Engine, Events

#: images that wait at most, beside the one that is postprocessed and the one that the network has
_WAITING = 1


class WriteBehind:
    """A postprocessing that another thread does, image by image in their order; results are those of the same thread.

    It does so for the engine that it is attached to, while that runs; any other call is a call of ``work``. After a
    failure the images behind it are left alone, and the next call raises it.

    Args:
        work: the postprocessing of one image.

    Attributes:
        place: which image the next call gets, for ``failed``; set by whoever reads the images.
        alone: whether that one takes so much memory that nothing may wait beside it: the call postprocesses it itself.
        failed: ``place`` of the image whose postprocessing failed, and why; None: none did.
    """

    def __init__(self, work: Callable[[Mapping[Hashable, Any]], Any]) -> None:
        self.work = work
        self.place, self.alone = 0, False
        self.failed: tuple[int, BaseException] | None = None
        self._waiting: Queue[list[Any]] = Queue(_WAITING)
        self._thread: Thread | None = None
        self._running = False

    def attach(self, engine: Engine) -> None:
        """At the end of ``engine``, before the handlers attached later, all images are done."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.COMPLETED, self._end)

    def __call__(self, data: Mapping[Hashable, Any]) -> Any:
        if self.alone or not self._running:
            self.wait()
            return self.work(data)
        self._raise()
        if self._thread is None:
            # a daemon: whoever interrupts the wait for it ends the process, as if it had no thread
            self._thread = Thread(target=self._run, name="write-behind", daemon=True)
            self._thread.start()
        self._waiting.put([self.place, data])
        return data

    def wait(self) -> None:
        """Until all images are done.

        Raises:
            BaseException: what the postprocessing of one raised.
        """
        self.settle()
        self._raise()

    def settle(self) -> None:
        """Until all images are done, or left alone behind one that failed."""
        self._waiting.join()

    def _begin(self) -> None:
        self._running = True

    def _end(self) -> None:
        self._running = False
        self.wait()

    def _raise(self) -> None:
        if self.failed is not None:
            raise self.failed[1]

    def _run(self) -> None:
        while True:
            task = self._waiting.get()
            try:
                if self.failed is None:
                    place, data = task
                    task.clear()
                    self.work(data)
            except BaseException as error:
                self.failed = (place, error)
            finally:
                data = None  # or it would be kept until the next image is here
                self._waiting.task_done()
