"""Runs a job in a separate process, and kills its workers while they compute or write a block."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bundle.atomic import write_json
from bundle.large.executor import Record, Task
from tests.crash.io_faults import arm


@dataclass(frozen=True)
class KillingTask(Task):
    """Notes who does which block, and kills as ``plan.json`` beside the result says: block -> what happens there.

    ``access`` of the disk in which the kill happens, counted from 1 in that block; ``whom``, "worker", "coordinator" or
    "both"; or ``hunger``, the block takes all memory; or ``pid``, that process is killed. Once, or ``always``.
    """

    def __call__(self, number: int) -> Record:
        out = self.markers.folder.parents[2]
        if self.markers.is_done(number):  # its worker was killed before it told so
            return super().__call__(number)
        with (out.parent / "blocks").open("a") as file:
            file.write(f"{os.getpid()} {number}\n")
        fate = out.parent / "plan.json"
        plan = json.loads(fate.read_text()) if fate.is_file() else {}
        if how := plan.pop(str(number), None):
            if not how.get("always"):
                write_json(fate, plan)  # whole: another worker may be reading it
            if how.get("hunger"):
                eat()
            if "pid" in how:
                os.kill(how["pid"], signal.SIGKILL)
                return super().__call__(number)
            os.kill = _killing(how["whom"])
            arm([out], out.parent / "record", "kill", how["access"])
        return super().__call__(number)


def eat() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * 2**24)
        time.sleep(0.005)


def _killing(whom: str) -> Callable[[int, int], None]:
    kill = os.kill

    def call(pid: int, number: int) -> None:
        if whom != "worker":
            kill(os.getppid(), signal.SIGKILL)
        if whom != "coordinator":
            kill(pid, signal.SIGKILL)
        time.sleep(600)  # a worker whose coordinator is gone ends by itself

    return call


def in_a_process(run: Callable[[], Any], said: Path) -> int:
    """The exit status of a forked process: 3 after an error that is told in ``said``. Its children have ended, too."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            run()
            code = 0
        except (RuntimeError, OSError) as error:
            said.write_text(str(error))
            code = 3
        finally:
            os._exit(code)
    children: list[psutil.Process] = []
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        children = psutil.Process(pid).children(recursive=True) or children
        time.sleep(0.02)
    psutil.wait_procs(children, timeout=60)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def write_plan(out: Path, plan: dict[int, dict[str, object]]) -> None:
    out.parent.mkdir(exist_ok=True)
    (out.parent / "plan.json").write_text(json.dumps(plan))


def blocks_done(out: Path) -> list[int]:
    """Numbers of the blocks that workers began, in the order of time."""
    return [int(line.split()[1]) for line in (out.parent / "blocks").read_text().splitlines()]
