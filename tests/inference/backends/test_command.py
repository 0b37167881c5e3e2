"""Backends on the command line, and their benchmark."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tifffile
import torch

from benchmarks import backends as benchmark
from benchmarks import inference
from benchmarks.timing import CheckError, Options
from bundle.inference.backends import BACKENDS
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import checkpoints
from tests.inference.backends.cases import needs, unet
from transforms import Standardize


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """An image and a checkpoint; the probability of cell that plain torch gives."""
    folder = tmp_path_factory.mktemp("backends")
    image = np.random.RandomState(0).randint(0, 255, (40, 56)).astype(np.uint8)
    (folder / "in").mkdir()
    tifffile.imwrite(folder / "in" / "image.tif", image)
    network = unet(seed=5)
    checkpoints.write(folder / "model.pt", network.state_dict())
    standardized = Standardize()(torch.from_numpy(image.T.astype(np.float32))[None])
    logits = OverlapTileInferer()(standardized[None], network)
    return folder, torch.softmax(logits, dim=1)[0, 1].numpy().T


@pytest.mark.parametrize("backend", [pytest.param("compile", marks=pytest.mark.nightly), "onnxruntime", "openvino"])
def test_command_line(bundle_run, case, backend):
    needs(backend)
    folder, expected = case
    out = folder / backend
    done = bundle_run(
        "run",
        "configs/inference.json",
        backend=backend,
        precision="fp32",
        tile_size=24,
        dataset_dir=str(folder / "in"),
        checkpoint=str(folder / "model.pt"),
        output_dir=str(out),
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(tifffile.imread(out / "image_probability.tif"), expected, atol=1e-5)
    assert done.stdout.count(f"{backend} prepared tiles of (24, 24) in fp32") == 1
    assert "onnxscript" not in done.stdout + done.stderr  # nor any other word of the exporters
    assert "Warning" not in done.stderr


def test_the_benchmark_compares_all_of_them(monkeypatch):
    quick = {name: runtime for name, runtime in BACKENDS.items() if name != "compile"}
    monkeypatch.setattr(inference, "BACKENDS", quick)
    tables = list(benchmark.run(Options(repeats=1, base_channels=2), size=24))
    assert [table.title.split(", ")[-2] for table in tables] == ["fp32", "bf16"]
    for table, precision in zip(tables, ("fp32", "bf16"), strict=True):
        names = [row[0].partition(":")[0] for row in table.rows]
        assert sorted(names[1:]) == sorted(name for name in quick if precision in quick[name].precisions)
        assert names[0] == "as it is"
    assert tables[0].rows[0][-1] == "0.0e+00"


def test_the_benchmark_does_not_time_a_backend_that_is_wrong(monkeypatch):
    wrong = dataclasses.replace(BACKENDS["eager"], prepare=lambda network, *_: lambda tile: network(tile) + 1)
    monkeypatch.setitem(BACKENDS, "eager", wrong)
    monkeypatch.setattr(inference, "BACKENDS", {"eager": wrong})
    with pytest.raises(CheckError, match="eager, fp32: differs from eager fp32"):
        next(benchmark.run(Options(repeats=1, base_channels=2), size=24))
