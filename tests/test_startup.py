"""What a process takes with it: only the imports that it needs, and huge pages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.conftest import ROOT

pytestmark = pytest.mark.nightly

_RUN = """
import json, runpy, sys
sys.argv = ["monai.bundle", "run", *json.loads(sys.argv[1])]
try:
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
finally:
    print("\\n" + json.dumps(sorted(sys.modules)))
"""

_FAULTS = """
import monai.bundle, bundle, torch
from resource import RUSAGE_SELF, getrusage
before = getrusage(RUSAGE_SELF).ru_minflt
torch.ones(16 * 2**20)
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


def output_of(program: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_inference_imports_neither_compilers_nor_trainings(tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "cells.tif", np.eye(64, dtype=np.uint8), photometric="minisblack")
    options = {
        "config_file": "configs/inference.json",
        "checkpoint": "models/em_membranes.pt",
        "dataset_dir": str(tmp_path / "in"),
        "output_dir": str(tmp_path / "out"),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    imported = set(json.loads(output_of(_RUN, json.dumps(words)).splitlines()[-1]))
    assert (tmp_path / "out" / "index.html").exists()
    assert "bundle.inference.overlap_tile" in imported
    assert imported & {"torch._dynamo", "numba", "bundle.training", "bundle.tracking", "openvino"} == set()


def test_large_tensors_lie_on_huge_pages():
    given = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not given.exists() or "[never]" in given.read_text():
        pytest.skip("this system has no huge pages")
    small_pages = 64 * 2**20 // 4096
    assert int(output_of(_FAULTS)) < small_pages / 4
