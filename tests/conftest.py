"""A bundle small enough to train in a second, and its command line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import warm

if TYPE_CHECKING:
    from monai.bundle import ConfigWorkflow

# examples are compared with slow references, and machines are busy: how long one takes says nothing
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# a shell that starts the tests in the background has them ignore Ctrl-C, and so all that they start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent

#: a network of a few hundred weights on tiles of 60 px: what these tests prove does not depend on the size
#: nothing to choose: fifty ways of reading cells would be tried after every tiny training
READ_AS_BEFORE = {
    "cells#threshold": 0.5,
    "cells#low_threshold": "$None",
    "cells#min_size": 20,
    "cells#close_gaps": 1.0,
    "cells#split_by": "$None",
    "cells#split_distance": 10.0,
}
TINY = {
    **READ_AS_BEFORE,
    "base_channels": 2,
    "depth": 2,
    "tile_size": 60,
    "max_epochs": 2,
    "samples_per_epoch": 4,
    "precision": "fp32",
    "elastic#sigma": 2.0,
}


#: files of minutes: they begin first, so that at the end no process is left alone with one of them
LONG = (
    "tests/docs/test_commands.py",
    "tests/test_survival.py",
    "tests/test_evaluating.py",
    "tests/studies/test_study.py",
    "tests/test_legacy.py",
    "tests/studies/test_runner.py",
    "tests/test_training.py",
    "tests/test_annotation_loop.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / file: place for place, file in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


@pytest.fixture(scope="session")
def cells(tmp_path_factory) -> Path:
    """A synthetic data set of 5 labelled and 4 further images of 96 px."""
    from bundle.data.synthetic import make_dataset

    return Path(make_dataset(tmp_path_factory.mktemp("data") / "cells", count=5, size=(96, 96), seed=1))


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def python_m(tmp_path_factory) -> Command:
    """``python -m WORDS`` from the bundle's folder, forked from a process that has imported everything."""
    folder = tmp_path_factory.mktemp("python_m")
    return lambda *words: warm.run([str(word) for word in words], folder, ROOT)


@pytest.fixture(scope="session")
def bundle_run(python_m) -> Command:
    """``python -m monai.bundle run ID --config_file ... --key value``, from the bundle's folder unless said.

    ``real``, or what only a process of its own can have: started as a person does, which imports for five seconds.
    """

    def run(
        run_id: str,
        config: str | list[str],
        *,
        cwd: Path = ROOT,
        launcher: tuple[str, ...] = (),
        gpu: bool = False,
        real: bool = False,
        **options: object,
    ) -> subprocess.CompletedProcess[str]:
        words = ["monai.bundle", "run", run_id, "--config_file", str(config)]
        for name, value in options.items():
            words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
        if not (real or gpu or launcher or cwd != ROOT):
            return python_m(*words)
        command = [sys.executable, *launcher, "-m", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """From here on trainings within the tests' own process take half the time, see tests/once.py."""
    from tests.once import once

    with once(tmp_path_factory.mktemp("made_once")):
        yield


def table(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def said_by(run: Callable[[], object]) -> str:
    """What a person is told when this fails."""
    from bundle.console import own_cause

    with pytest.raises(Exception) as caught:  # noqa: PT011 - MONAI wraps errors; the cause is what counts
        run()
    cause = own_cause(caught.value)
    assert cause is not None, caught.value
    return str(cause)


def inference(*overlays: str | Path, **options: object) -> ConfigWorkflow:
    """A ConfigWorkflow of inference.json; overlays lie in configs, and keyword arguments override the config."""
    from monai.bundle import ConfigWorkflow

    files = [str(ROOT / "configs" / name) for name in ("inference.json", *overlays)]
    words = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    made = ConfigWorkflow(files, workflow_type="infer", logging_file=False, **{"bundle_root": str(ROOT), **words})
    made.initialize()
    return made


@pytest.fixture
def workflow(tmp_path, cells, made_once):
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
