"""The real server on a free port of 127.0.0.1, over drawn cells and a network of a few hundred weights."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import tifffile
from skimage.draw import disk

from tests.display import NO_WINDOW

# left out by pyproject.toml: without Qt's libraries it would end the tests that need no window, too
pytest_plugins = [] if NO_WINDOW else ["pytestqt.plugin"]

ROOT = Path(__file__).resolve().parents[3]
PYTHON = os.environ.get("LABEL_PYTHON", str(ROOT / ".venv-label" / "bin" / "python"))
#: seconds; how long things take says nothing here, only that they end
PATIENCE = 300
OPTIONS = {"tile_size": 60, "samples_per_epoch": 4, "precision": "fp32", "elastic#sigma": 2.0}
TINY = """
import sys, torch
from bundle.model import checkpoints
from bundle.networks import UNet
torch.manual_seed(0)
checkpoints.write(sys.argv[1], UNet(2, 1, 2, base_channels=2, depth=2, norm="batch").state_dict())
"""


def environment() -> dict[str, str]:
    plain = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    plain |= {
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps(["*.nii.gz", "*.png", "*.tif"]),
    }
    workaround = ROOT / "tests" / "label" / "torchvision_workaround"
    tried = subprocess.run([PYTHON, "-c", "import torchvision"], env=plain, capture_output=True, text=True)
    return plain if "does not exist" not in tried.stderr else {**plain, "PYTHONPATH": f"{ROOT}{os.pathsep}{workaround}"}


class RealServer:
    """Started, killed and started again on one port."""

    def __init__(self, app: Path, studies: Path) -> None:
        self.app, self.studies, self.environment = app, studies, environment()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = app / "server.log"

    @property
    def command(self) -> list[str]:
        told = ["--app", str(self.app), "--studies", str(self.studies), "--host", "127.0.0.1", "--port", str(self.port)]
        conf = ["--conf", "models", "cells", "--conf", "zoo_source", "local", "--conf", "sam2", "false"]
        return [PYTHON, "-m", "monailabel.main", "start_server", *told, *conf]

    def begin(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.app, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def start(self) -> None:
        self.begin()
        end = time.monotonic() + PATIENCE
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/annotate/", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    def stop(self, number: int = signal.SIGKILL) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return
        self.process.wait(30)


def draw(seed: int, shape: tuple[int, int] = (96, 80)) -> tuple[np.ndarray, np.ndarray]:
    """A gray image of bright discs and their numbers."""
    random = np.random.default_rng(seed)
    cells = np.zeros(shape, np.int32)
    for number in range(1, 8):
        rows, columns = disk(random.uniform((8, 8), np.array(shape) - 8), random.uniform(5, 9), shape=shape)
        cells[rows, columns] = number
    gray = np.where(cells > 0, 170, 60) + random.normal(0, 12, shape)
    return np.clip(gray, 0, 255).astype(np.uint8), cells


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """A function that prepares the folder of an app."""
    file = tmp_path_factory.mktemp("network") / "tiny.pt"
    subprocess.run([PYTHON, "-c", TINY, str(file)], cwd=ROOT, env=environment(), check=True)

    def prepare(app: Path, *more: str) -> Path:
        command = [PYTHON, "-m", "label_app.prepare", "--app", str(app), "--model", str(file), *more]
        for name, value in OPTIONS.items():
            command += ["--option", f"{name}={json.dumps(value)}"]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return app

    return prepare


@pytest.fixture(scope="session")
def real(network, tmp_path_factory):
    """A server over four images and a stack."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "studies").mkdir()
    for number in range(4):
        tifffile.imwrite(folder / "studies" / f"i{number}.tif", draw(number)[0])
    stack = np.stack([draw(number)[0] for number in (5, 6, 7)])
    tifffile.imwrite(folder / "studies" / "stack.tif", stack, photometric="minisblack")
    server = RealServer(network(folder / "app"), folder / "studies")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def truth():
    """The cells of ``i0`` to ``i3`` by their number."""
    return lambda number: draw(number)[1]
