"""Work runs in a thread of its own; its result arrives in the thread of the window."""

from __future__ import annotations

import threading

from tests.display import require_window

require_window()

from seamless_annotator.jobs import Jobs  # noqa: E402


def test_results_and_errors_arrive_in_the_windows_thread(qtbot):
    jobs, told = Jobs(), []

    def worked():
        told.append(threading.current_thread() is threading.main_thread())
        return 7

    def broken():
        raise KeyError("a")

    def note(value):
        told.append((threading.current_thread() is threading.main_thread(), value))

    jobs.run(worked, note, note)
    qtbot.waitUntil(lambda: len(told) == 2, timeout=60_000)
    assert told == [False, (True, 7)]
    jobs.run(broken, note, lambda error: note(repr(error)))
    qtbot.waitUntil(lambda: len(told) == 3, timeout=60_000)
    assert told[2] == (True, "KeyError('a')")
