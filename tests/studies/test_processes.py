"""Commands in processes of their own, all ended together."""

import os
import signal
import sys
import threading
import time

import pytest

from bundle.studies.processes import CommandError, Processes, StoppedError, exclusive, sigterm_as_interrupt

DEAF = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


def wait_for(log, text):
    while not (log.exists() and text in log.read_text().splitlines()):
        time.sleep(0.02)


def test_a_training_that_was_left_behind_keeps_the_study_locked(tmp_path):
    stopped = []
    with exclusive(tmp_path / ".lock") as lock:
        processes = Processes(lock, patience=0.1)

        def call():
            with pytest.raises(StoppedError):
                processes.call([sys.executable, "-c", DEAF], tmp_path / "log")
            stopped.append(True)

        thread = threading.Thread(target=call)
        thread.start()
        wait_for(tmp_path / "log", "deaf")
    # as if this process had been killed: its own hold is gone, the child's is not
    with pytest.raises(BlockingIOError, match="in use"), exclusive(tmp_path / ".lock"):
        pass
    processes.stop()  # it does not listen to SIGTERM, and is killed
    thread.join()
    assert stopped == [True]
    with exclusive(tmp_path / ".lock"):
        pass
    with pytest.raises(StoppedError, match="not begun"):
        processes.call([sys.executable, "-c", ""], tmp_path / "other")


@pytest.mark.parametrize(("jobs", "given", "expected"), [(1, None, "None"), (10_000, None, "1"), (10_000, "7", "7")])
def test_several_at_a_time_share_the_cores(jobs, given, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    program = "import os; print('threads', os.environ.get('OMP_NUM_THREADS'))"
    with exclusive(tmp_path / ".lock") as lock:
        Processes(lock, jobs).call([sys.executable, "-c", program], tmp_path / "log")
    assert (tmp_path / "log").read_text().splitlines()[-1] == f"threads {expected}"


def test_a_command_that_fails_shows_the_end_of_its_log(tmp_path):
    program = "print(*range(9), sep='\\n'); raise SystemExit(4)"
    with (
        exclusive(tmp_path / ".lock") as lock,
        pytest.raises(CommandError, match=r"^exit code 4; the end of .*log:\n6\n7\n8$"),
    ):
        Processes(lock).call([sys.executable, "-c", program], tmp_path / "log", tail=3)
    assert (tmp_path / "log").read_text().startswith(f"$ {os.fsdecode(sys.executable)} -c")


def test_sigterm_ends_what_was_begun_as_ctrl_c_does(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    begun = "import time; time.sleep(60)"
    program = f"import os, signal; os.kill({os.getpid()}, signal.SIGTERM)"

    def call():
        with exclusive(tmp_path / ".lock") as lock, sigterm_as_interrupt():
            processes = Processes(lock)
            try:
                processes.call([sys.executable, "-c", f"{program}; {begun}"], tmp_path / "log")
            finally:
                processes.stop()

    with pytest.raises(KeyboardInterrupt):
        call()
    assert signal.getsignal(signal.SIGTERM) == before
    with exclusive(tmp_path / ".lock"):  # which the command would hold still
        pass
