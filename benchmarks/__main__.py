"""``python -m benchmarks [NAME ...]``: measure on this machine and print tables in Markdown."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import secrets
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

#: in the order in which they run
NAMES = (
    "tile_choice",
    "weight_map",
    "elastic",
    "training_sample",
    "sample_stream",
    "inference",
    "window",
    "efficiency",
    "backends",
    "int8",
    "many_images",
    "bounded",
    "training_step",
    "tracking",
    "startup",
    "startup_inference",
    "cluster",
    "metrics",
)
#: those that also run on a GPU
ON_CUDA = ("inference", "window", "efficiency", "backends", "training_step")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What the hot parts cost beside what one would take instead; every contender is checked first.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none means all")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, BLAS and OpenMP (default 1)")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--base", type=int, default=64, help="width of the first level at inference (default 64)")
    parser.add_argument("--seed", type=int, help="of all that is random; default another one every time, printed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help=f"cuda: for {', '.join(ON_CUDA)}")
    parser.add_argument("--full", action="store_true", help="also what takes minutes and 4 GiB")
    chosen = parser.parse_args(argv)
    for name in chosen.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark {name!r}: allowed are {', '.join(NAMES)}")
    for option in ("threads", "repeats", "base"):
        if getattr(chosen, option) < 1:
            parser.error(f"--{option} must be at least 1, got {getattr(chosen, option)}")
    if chosen.seed is None:
        chosen.seed = secrets.randbelow(10_000)
    elif not 0 <= chosen.seed < 2**32:
        parser.error(f"--seed must be within 0 .. 2^32 - 1, got {chosen.seed}")
    allowed = ON_CUDA if chosen.device == "cuda" else NAMES
    for name in chosen.names:
        if name not in allowed:
            parser.error(f"benchmark {name!r} does not run on cuda: allowed are {', '.join(ON_CUDA)}")
    chosen.names = chosen.names or allowed
    return chosen


def set_threads(threads: int) -> None:
    """Threads of everything; before numpy and torch are imported, which read the variables once."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    import torch

    torch.set_num_threads(threads)


def machine(threads: int, device: str = "cpu") -> str:
    """What the numbers depend on, in one paragraph."""
    import torch

    from bundle.inference.precision import resolve_precision

    native = "native" if resolve_precision("auto", "cpu") == "bf16" else "emulated"
    packages = ", ".join(f"{name} {version(name)}" for name in ("monai", "numpy", "scipy", "numba"))
    card = f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}; " if device == "cuda" else ""
    return (
        f"{card}{_processor()} ({torch.backends.cpu.get_cpu_capability()}, bf16 {native}), threads {threads} of "
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
    set_threads(chosen.threads)
    import torch

    from benchmarks.targets import TARGET_COLUMNS
    from benchmarks.timing import CheckError, Options, Table

    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("error: --device cuda: torch finds no GPU here", file=sys.stderr)
        return 1
    options = Options(chosen.repeats, chosen.full, chosen.base, chosen.seed, chosen.device)
    print(f"{machine(chosen.threads, chosen.device)}; seed {chosen.seed}\n", flush=True)
    failed, targets = False, []
    for name in chosen.names:
        try:
            for table in importlib.import_module(f"benchmarks.{name}").run(options):
                print(f"{table}\n", flush=True)
                targets += table.targets
        except CheckError as error:
            failed = True
            print(f"error: {name}: {error}", file=sys.stderr)
    if targets:
        print(Table("targets", TARGET_COLUMNS, [target.cells for target in targets]), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
