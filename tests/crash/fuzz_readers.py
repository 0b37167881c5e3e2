"""Google's fuzzer atheris on the readers of images; it learns from the branches of Python code which bytes matter.

    python tests/crash/fuzz_readers.py [FOLDER] [libFuzzer's options, such as -max_total_time=300]

Each input is tried as a file of the format that its first byte names. It ends at the first exception that is not ours,
at more than 1.5 GiB, or at an input that takes 60 s, and writes that input as crash-..., oom-... or timeout-... here:
make a case of it in tests/data/test_hostile.py. FOLDER keeps what it has learned.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["tifffile", "nibabel", "bundle.data"], enable_loader_override=False):
    from bundle.data import formats, pixel_size, readers  # noqa: F401

from tests.data.hostile import answer, make_files

KINDS = (".tif", ".png", ".jpg", ".bmp", ".nii", ".nii.gz", ".mha", ".mhd")


def main() -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    work = Path(tempfile.mkdtemp())
    seeds = work / "seeds"
    seeds.mkdir()
    for name, path in make_files(work / "sound").items():
        kind = max((kind for kind in KINDS if name.endswith(kind)), key=len)
        (seeds / name).write_bytes(bytes([KINDS.index(kind)]) + path.read_bytes())

    def one(data: bytes) -> None:
        if len(data) < 2:
            return
        path = work / f"input{KINDS[data[0] % len(KINDS)]}"
        path.write_bytes(data[1:])
        with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
            answer(path)

    # ITK changes the working directory when it loads a module; the first file of a type takes seconds
    here = f"-artifact_prefix={os.getcwd()}/"
    limits = [here, "-timeout=60", "-rss_limit_mb=1536", "-malloc_limit_mb=1024", "-max_len=4096", "-close_fd_mask=1"]
    atheris.Setup([*sys.argv, *limits, str(seeds)], one)
    atheris.Fuzz()


main()
