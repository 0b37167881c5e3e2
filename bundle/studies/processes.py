"""Commands in processes of their own, several at a time, each with its log, and all ended together."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


class CommandError(RuntimeError):
    """A command that failed, with the end of its log."""


class StoppedError(RuntimeError):
    """A command that was ended, or not begun, because everything ends."""


class Processes:
    """Runs commands and waits for them; may be called from several threads.

    A command has a session of its own: Ctrl-C reaches it through :meth:`stop` only, as SIGTERM, on which a training
    closes its run in MLflow.

    Args:
        lock: an open file that every process keeps open, see :func:`exclusive`.
        jobs: how many run at a time; they share the processor's cores, unless OMP_NUM_THREADS says otherwise.
        patience: seconds that a process has to end, before it is killed; a training waits a minute for its store.
    """

    def __init__(self, lock: int, jobs: int = 1, patience: float = 75.0) -> None:
        self.lock = lock
        self.jobs = jobs
        self.patience = patience
        self.environment = dict(os.environ)
        if jobs > 1:
            self.environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False
        self._guard = threading.Lock()

    def call(self, command: Sequence[str], log: Path, tail: int = 12) -> None:
        """Run a command to its end; what it prints is appended to ``log``.

        Raises:
            CommandError: with the last ``tail`` lines that it printed, when it fails.
            StoppedError: after :meth:`stop`.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            output.write(f"$ {shlex.join(command)}\n".encode())
            output.flush()
            with self._guard:
                if self._stopping:
                    raise StoppedError(f"not begun: {shlex.join(command)}")
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                    pass_fds=(self.lock,),
                    start_new_session=True,
                )
                self._running.add(process)
            code = process.wait()
        with self._guard:
            self._running.discard(process)
            if self._stopping:
                raise StoppedError(f"ended: {shlex.join(command)}")
        if code != 0:
            lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
            raise CommandError("\n".join([f"exit code {code}; the end of {log}:", *lines[-tail:]]))

    def stop(self) -> None:
        """End all commands and begin none again; kills those that do not end in time, or at a second Ctrl-C."""
        with self._guard:
            self._stopping = True
            running = list(self._running)
        for process in running:
            process.terminate()
        try:
            for process in running:
                process.wait(self.patience)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            for process in running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def exclusive(file: Path) -> Iterator[int]:
    """Hold a file's lock. Processes that inherit the descriptor hold it too, should this one be killed before them.

    Raises:
        BlockingIOError: when somebody else holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"{file.parent} is in use: another process runs this study, or a training that it left behind"
            ) from None
        yield opened.fileno()


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Within, SIGTERM is what Ctrl-C is: what was begun gets ended."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
