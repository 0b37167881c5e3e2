"""A bundle small enough to train in a second, and its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# examples are compared with slow references, and machines are busy: how long one takes says nothing
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

ROOT = Path(__file__).resolve().parent.parent

#: a network of a few hundred weights on tiles of 60 px: what these tests prove does not depend on the size
TINY = {
    "base_channels": 2,
    "depth": 2,
    "tile_size": 60,
    "max_epochs": 2,
    "samples_per_epoch": 4,
    "precision": "fp32",
    "elastic#sigma": 2.0,
}


@pytest.fixture(scope="session")
def cells(tmp_path_factory) -> Path:
    """A synthetic data set of 5 labelled and 4 further images of 96 px."""
    from bundle.data.synthetic import make_dataset

    return Path(make_dataset(tmp_path_factory.mktemp("data") / "cells", count=5, size=(96, 96), seed=1))


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def bundle_run() -> Command:
    """``python -m monai.bundle run ID --config_file ... --key value``, from the bundle's folder unless said."""

    def run(
        run_id: str,
        config: str | list[str],
        *,
        cwd: Path = ROOT,
        launcher: tuple[str, ...] = (),
        gpu: bool = False,
        **options: object,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *launcher, "-m", "monai.bundle", "run", run_id, "--config_file", str(config)]
        for name, value in options.items():
            command += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture
def workflow(tmp_path, cells):
    """A ConfigWorkflow of train.json at the tiny size; keyword arguments override the config."""
    from monai.bundle import ConfigWorkflow

    def make(*overlays: str, **options: object) -> ConfigWorkflow:
        files = [str(ROOT / "configs" / name) for name in ("train.json", *overlays)]
        override = {
            **TINY,
            "bundle_root": str(ROOT),
            "dataset_dir": str(cells),
            "output_dir": str(tmp_path / "runs"),
            "model_file": str(tmp_path / "model.pt"),
            **options,
        }
        made = ConfigWorkflow(files, logging_file=False, **override)
        made.initialize()
        return made

    return make
