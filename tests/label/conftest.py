"""The real MONAI Label server on a free port of 127.0.0.1, started, asked over REST and stopped.

``make test-label`` runs these; ``make test`` does not, for they need the environment of ``make label``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import torch

from bundle.model import checkpoints
from bundle.networks import UNet
from tests.conftest import ROOT

PYTHON = os.environ.get("LABEL_PYTHON", str(ROOT / ".venv-label" / "bin" / "python"))
#: seconds; how long things take says nothing here, only that they end
PATIENCE = float(os.environ.get("LABEL_PATIENCE", "600"))
OPTIONS = {"tile_size": 60, "samples_per_epoch": 4, "precision": "fp32", "elastic#sigma": 2.0}
WORKAROUND = ROOT / "tests" / "label" / "torchvision_workaround"


def environment() -> dict[str, str]:
    """One thread, no GPU, the code of this checkout, and a torchvision that can be imported."""
    plain = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
    }
    plain |= {
        "PYTHONPATH": str(ROOT),
        "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps(["*.nii.gz", "*.png", "*.jpg", "*.tif"]),
    }
    tried = subprocess.run([PYTHON, "-c", "import torchvision"], env=plain, capture_output=True, text=True)
    return plain if "does not exist" not in tried.stderr else {**plain, "PYTHONPATH": f"{ROOT}{os.pathsep}{WORKAROUND}"}


class Server:
    """A server over a folder of an app and one of images, in a process group of its own."""

    def __init__(self, app: Path, studies: Path, conf: dict[str, str] | None = None) -> None:
        self.app, self.studies = app, studies
        self.bundle = app / "model" / "cells"
        self.model = self.bundle / "models" / "model.pt"
        self.conf = {"models": "cells", "zoo_source": "local", "sam2": "false", **(conf or {})}
        self.environment = environment()

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [PYTHON, "-m", "monailabel.main", "start_server", "--app", str(self.app)]
        command += ["--studies", str(self.studies), "--host", "127.0.0.1", "--port", str(port)]
        for pair in self.conf.items():
            command += ["--conf", *pair]
        self.log = self.app / "server.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.app, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.wait_for(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return requests.get(f"{self.url}/info/", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the whole group; what does not go is killed."""
        for sent in (number, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sent)
            except ProcessLookupError:
                return
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                continue

    def wait_for(self, condition: Any) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.3)

    def post(self, path: str, body: Any = None, **query: str) -> requests.Response:
        return requests.post(f"{self.url}{path}", params=query, json=body or {}, timeout=PATIENCE)

    def get(self, path: str, **query: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", params=query, timeout=PATIENCE)

    def infer(self, image: str, model: str = "cells", **params: Any) -> requests.Response:
        query, form = {"image": image, "output": "image"}, {"params": json.dumps(params)}
        return requests.post(f"{self.url}/infer/{model}", params=query, data=form, timeout=PATIENCE)

    def mask(self, image: str, folder: Path, **params: Any) -> Path:
        """The file that an inference returns, under its own extension."""
        answer = self.infer(image, **params)
        assert answer.status_code == 200, (answer.text, self.log.read_text()[-3000:])
        name = answer.headers["content-disposition"].split("filename=")[1].strip('"')
        file = folder / f"{image}-mask{name[name.index('.') :]}"
        file.write_bytes(answer.content)
        return file

    def upload(self, image: str, label: Path, tag: str = "final", **params: Any) -> requests.Response:
        with label.open("rb") as content:
            return requests.put(
                f"{self.url}/datastore/label",
                params={"image": image, "tag": tag},
                data={"params": json.dumps(params)},
                files={"label": (label.name, content)},
                timeout=PATIENCE,
            )

    def train(self, **params: Any) -> requests.Response:
        """Within the server, which answers when it is done; weights are read anew by the next inference."""
        return self.post("/train/cells", params, run_sync="true")


def prepare(app: Path, *arguments: str, in_channels: int = 1) -> None:
    """``python -m label_app.prepare`` with a network of a few hundred weights."""
    torch.manual_seed(0)
    network = UNet(2, in_channels, 2, base_channels=2, depth=2, norm="batch")
    checkpoints.write(app.parent / "tiny.pt", network.state_dict())
    command = [PYTHON, "-m", "label_app.prepare", "--app", str(app), "--model", str(app.parent / "tiny.pt"), *arguments]
    for key, value in OPTIONS.items():
        command += ["--option", f"{key}={json.dumps(value)}"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def run_server():
    """Starts servers and stops them, whatever happens."""
    servers = []

    def run(*arguments: Any) -> Server:
        servers.append(Server(*arguments))
        servers[-1].start()
        return servers[-1]

    yield run
    for server in servers:
        server.stop()
