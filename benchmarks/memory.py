"""Peak memory of a piece of work, measured in a process of its own: what others freed before would hide it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import subprocess
import sys
from pathlib import Path

MIB = 2**20
_ROOT = Path(__file__).resolve().parent.parent


def peak_memory(module: str, **arguments: object) -> int | None:
    """Bytes of resident memory that a piece of work adds at its highest.

    Args:
        module: of this package; its ``prepared(**arguments)`` sets everything up, runs a small case so that all code is
            loaded, and returns the work as a function without arguments.
        arguments: plain JSON values.

    Returns:
        None where the system does not tell (any but Linux).

    Raises:
        subprocess.CalledProcessError: when the work fails; its message is on standard error.
    """
    command = [sys.executable, "-m", "benchmarks.memory", module, json.dumps(arguments)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _measure(module: str, arguments: str) -> int | None:
    work = importlib.import_module(f"benchmarks.{module}").prepared(**json.loads(arguments))
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc would serve the work from what was freed, and nothing would show
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from what is resident now
        before = status("VmRSS")
        work()
        return status("VmHWM") - before
    except OSError:
        return None


def status(field: str) -> int:
    """Bytes of a field of this process's /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:])))
