"""``python -m benchmarks [NAME ...]``: measure on this machine and print tables in Markdown."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

#: in the order in which they run
NAMES = ("tile_choice", "weight_map", "elastic", "training_sample", "inference")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What the hot parts cost beside what one would take instead; every contender is checked first.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none means all")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, BLAS and OpenMP (default 1)")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--base", type=int, default=16, help="width of the networks' first level (default 16)")
    parser.add_argument("--full", action="store_true", help="also what takes minutes and 4 GiB")
    chosen = parser.parse_args(argv)
    for name in chosen.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark {name!r}: allowed are {', '.join(NAMES)}")
    for option in ("threads", "repeats", "base"):
        if getattr(chosen, option) < 1:
            parser.error(f"--{option} must be at least 1, got {getattr(chosen, option)}")
    return chosen


def machine(threads: int) -> str:
    """What the numbers depend on, in one paragraph."""
    import torch

    from bundle.precision import resolve_precision

    native = "native" if resolve_precision("auto", "cpu") == "bf16" else "emulated"
    packages = ", ".join(f"{name} {version(name)}" for name in ("monai", "numpy", "scipy", "numba"))
    return (
        f"{_processor()} ({torch.backends.cpu.get_cpu_capability()}, bf16 {native}), threads {threads} of "
        f"{os.cpu_count()}, load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, {packages}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks named; 0 when every contender computed what it should, 1 otherwise."""
    chosen = arguments(argv)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(chosen.threads)  # read once, when numpy and torch are imported below
    import torch

    from benchmarks.timing import CheckError, Options

    torch.set_num_threads(chosen.threads)
    options = Options(repeats=chosen.repeats, full=chosen.full, base_channels=chosen.base)
    print(f"{machine(chosen.threads)}\n", flush=True)
    failed = False
    for name in chosen.names or NAMES:
        try:
            for table in importlib.import_module(f"benchmarks.{name}").run(options):
                print(f"{table}\n", flush=True)
        except CheckError as error:
            failed = True
            print(f"error: {name}: {error}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
