"""The packages in the programs that read them: ``make test-packages`` makes their environments and runs this."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from bundle.data.dic_cells import draw_cells
from bundle.inference.packages import Package
from bundle.inference.packages.proof import TOLERANCE, blockwise, inferred
from bundle.metrics.engine import METRICS
from bundle.model import TrainedNetwork
from tests.conftest import ROOT
from transforms import Standardize

#: version of bioimageio.core -> the folder of its environment
VENV = os.environ.get("PACKAGES_VENV", ".venv-packages")
CLIENTS = {version: ROOT / f"{VENV}-{version}" for version in ("0.9.6", "0.11.0")}
#: version of bioimageio.core -> suffix of the package that is for it
SUFFIX = {"0.9.6": "", "0.11.0": "-0.5.12"}
DATA = Path(os.environ.get("EM_DATA", ROOT / "data" / "isbi2012"))

Predict = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def trained() -> TrainedNetwork:
    return TrainedNetwork(ROOT / "models" / "em_membranes.pt")


@pytest.fixture(scope="session")
def packages(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    Package(trained, authors=["The seamless-unet authors"]).write(folder)
    return folder


@pytest.fixture(scope="session")
def network(trained) -> torch.nn.Module:
    return trained.load().eval()


@pytest.fixture
def predict(packages, tmp_path) -> Predict:
    def run(version: str, images: np.ndarray, *ways: str, suffix: str | None = None) -> dict[str, np.ndarray]:
        package = packages / f"em_membranes{SUFFIX[version] if suffix is None else suffix}.zip"
        np.save(tmp_path / "images.npy", images)
        client = [CLIENTS[version] / "bin" / "python", ROOT / "tests" / "packages" / "client.py"]
        _run(*client, package, tmp_path / "images.npy", tmp_path / "out.npz", *ways)
        return dict(np.load(tmp_path / "out.npz"))

    return run


def _run(*words: object) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "LOGURU_LEVEL": "WARNING"}
    ended = subprocess.run([str(word) for word in words], cwd="/", env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    return ended.stdout


def ours(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    return inferred(network, torch.from_numpy(images)).numpy()


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Drawn cells, standardized: on noise the probability is nearly 1 all over, and every mistake would pass."""
    return Standardize()(draw_cells((512, 448))[0][None].astype(np.float32)).numpy()[None]


@pytest.mark.parametrize("version", CLIENTS)
def test_the_official_test_passes(version, packages):
    for suffix in ("",) if version == "0.9.6" else SUFFIX.values():
        _run(CLIENTS[version] / "bin" / "bioimageio", "test", packages / f"em_membranes{suffix}.zip")


@pytest.mark.parametrize("version", CLIENTS)
def test_blocks_and_the_whole_equal_our_inference_on_standardized_images(version, predict, network, images):
    expected = ours(network, images)
    assert expected.std() > 0.1
    for way, found in predict(version, images, "blocked:standardized", "whole:standardized").items():
        assert abs(found - expected).max() <= TOLERANCE, way


def test_a_package_without_a_word_on_mirroring_differs_at_the_border_in_the_newer_client(predict, network, images):
    """Why there are two: this client repeats the edge (symmetric) unless told otherwise."""
    found = predict("0.11.0", images, "blocked:standardized", suffix="")["blocked:standardized"]
    difference = abs(found - ours(network, images)).max(axis=(0, 1))
    assert difference[96:-96, 96:-96].max() <= TOLERANCE
    assert difference.max() > 100 * TOLERANCE


def test_raw_slices_of_em(predict, network, trained, packages):
    """What each program's standardisation costs, as Rand error on the held-out slices; printed with -rP."""
    if not (DATA / "train-volume.tif").is_file():
        pytest.skip(f"there is no {DATA}/train-volume.tif: give its folder by make test-packages EM_DATA=DIR")
    numbers = [int(name.rpartition("-")[2]) for name in trained.card["result"]["held_out"]["images"]]
    raw = tifffile.imread(DATA / "train-volume.tif")[numbers][:, None].astype(np.float32)
    truth = tifffile.imread(DATA / "train-labels.tif")[numbers]
    standardized = np.stack([Standardize()(image).numpy() for image in raw])
    found = {"seamless-unet": ours(network, standardized)}
    for version in CLIENTS:
        for way, result in predict(version, raw, "blocked:raw", "whole:raw").items():
            found[f"bioimageio.core {version}, {way}"] = result
    other = predict("0.11.0", raw, "blocked:raw", suffix="")
    found["bioimageio.core 0.11.0 with the other package, blocked:raw"] = other["blocked:raw"]
    found["each tile of 512 px standardised by itself"] = by_tile(packages, raw)
    seen = [int(name.rpartition("-")[2]) for name in trained.card["data"]["trained_on"]]
    gray = tifffile.imread(DATA / "train-volume.tif")[seen]
    found["mean and deviation of the training slices"] = ours(
        network, ((raw - gray.mean()) / gray.std()).astype(np.float32)
    )
    rows, value = METRICS["rand_error"]
    for way, result in found.items():
        pairs = zip(truth, result[:, 1], strict=True)
        rand = value(sum(rows((one > 0).T.astype(int), other.T) for one, other in pairs))  # x, y, as MONAI reads them
        difference = abs(result - found["seamless-unet"]).max()
        print(f"{way}: Rand error {rand:.5f}, largest difference {difference:.2g}")
        if "0.9.6" in way or ("blocked" in way and "other" not in way):
            assert difference <= 10 * TOLERANCE, way


def by_tile(packages: Path, raw: np.ndarray) -> np.ndarray:
    """Standardises each tile alone, as deepImageJ and QuPath do: they never see the whole image at once."""
    with zipfile.ZipFile(packages / "em_membranes.zip") as package:
        network = torch.jit.load(io.BytesIO(package.read("weights.ts")))

    def predict(tile: torch.Tensor) -> torch.Tensor:
        return network((tile - tile.mean()) / tile.std(unbiased=False))

    with torch.no_grad():
        return torch.cat([blockwise(predict, torch.from_numpy(one[None]), (96, 96), (320, 320)) for one in raw]).numpy()
