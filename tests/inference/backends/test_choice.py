"""The backend that nobody chose: by sizes alone, told once, and given up where it is wrong."""

from __future__ import annotations

import dataclasses
import logging
import re

import numpy as np
import pytest
import tifffile
import torch

from bundle.inference.backends import BACKENDS, Predictors, choice, choose_backend, prepare_network
from bundle.inference.made_by import made_by
from bundle.model import checkpoints
from bundle.networks import UNet
from tests.conftest import table
from tests.inference.backends.cases import difference, picture, unet

SMALL, LARGE = [(512, 512)] * 2, [(512, 512)] * 1000


def wide(width):
    return UNet(2, 1, 2, base_channels=width).eval()


def chosen(network, sizes, **options):
    return choose_backend("auto", network, "cpu", sizes, **options)


def test_work_decides(monkeypatch):
    monkeypatch.setattr(BACKENDS["openvino"].__class__, "missing", lambda self: [])
    assert chosen(wide(16), SMALL) == "eager"
    assert chosen(wide(16), LARGE) == "openvino"
    assert chosen(wide(64), SMALL * 10) == "openvino"
    assert chosen(wide(16), SMALL * 10) == "eager"
    assert chosen(wide(16), [(512, 512, 1000)]) == "openvino", "slices count"
    # the same number of pixels in images of as many sizes: each size has to be prepared
    assert chosen(wide(16), [(412 + n, 512) for n in range(200)]) == "eager"
    assert chosen(wide(16), [(512, 512)] * 200) == "openvino"
    assert chosen(wide(16), []) == "eager"
    assert choose_backend("auto", wide(16), "cuda", LARGE) == "eager"
    assert chosen(torch.jit.script(unet()), LARGE) == "eager"
    assert chosen(wide(16), SMALL, precision="int8") == "openvino"


def test_operations_are_those_of_a_pass():
    network = wide(4)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        network(picture(700, 700))
    assert choice._operations_per_pixel(network) == pytest.approx(counter.get_total_flops() / 516**2, rel=0.02)


def test_what_is_said_stays():
    for name in BACKENDS:
        assert choose_backend(name, wide(2), "cpu", LARGE, begun="eager") == name
    with pytest.raises(ValueError, match=r"backend must be one of auto, eager, compile, .*, got 'fastest'"):
        choose_backend("fastest", wide(2), "cpu", [])


def test_what_was_begun_goes_on(monkeypatch):
    assert chosen(wide(2), LARGE, begun="eager") == "eager"
    monkeypatch.setattr(BACKENDS["openvino"].__class__, "missing", lambda self: [])
    assert chosen(wide(2), SMALL, begun="openvino") == "openvino"
    monkeypatch.setattr(BACKENDS["openvino"].__class__, "missing", lambda self: list(self.packages))
    assert chosen(wide(2), SMALL, begun="openvino") == "eager"


def test_without_the_package_it_says_what_to_install(monkeypatch, caplog):
    monkeypatch.setattr(BACKENDS["openvino"].__class__, "missing", lambda self: list(self.packages))
    with caplog.at_level(logging.INFO):
        assert chosen(wide(16), LARGE) == "eager"
    assert caplog.text.count("backend eager: ") == 1
    assert "for OpenVINO, pip install openvino" in caplog.text


@pytest.fixture
def wrong(monkeypatch):
    """A backend that computes something else, or nothing."""

    def set_up(prepare):
        monkeypatch.setitem(BACKENDS, "wrong", dataclasses.replace(BACKENDS["eager"], prepare=prepare))
        return prepare_network(unet(), "wrong", check=True)

    return set_up


def fails(network, tile, precision):
    raise RuntimeError("no such operator\nand where")


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda network, *_: lambda tile: network(tile) * 1.01, "differs from that of PyTorch by 0.0"),
        (lambda network, *_: lambda tile: network(tile) * torch.nan, "differs from that of PyTorch by nan"),
        (fails, r"\(RuntimeError: no such operator\)"),
    ],
)
def test_a_backend_that_is_wrong_is_given_up(wrong, prepare, why, caplog):
    predictor, network = wrong(prepare), unet()
    with torch.no_grad():
        for size in (24, 28, 24):
            assert difference(predictor(picture(size, size)), network(picture(size, size))) < 1e-5
    assert predictor.backend == "eager"
    assert made_by(UnNamed, predictor, "fp32", "cpu", "threshold 0.5")["backend"] == "eager"
    assert len(caplog.records) == 1
    assert re.search(f"backend wrong is not used, PyTorch computes instead .*{why}", caplog.text)


class UnNamed:
    name = "model"


def test_one_that_is_right_is_kept_and_compared_once(wrong):
    seen = []

    def prepare(network, *_):
        return lambda tile: seen.append(tile.shape[-1]) or network(tile)

    predictor = wrong(prepare)
    for size in (24, 28):
        with torch.autocast("cpu", torch.bfloat16):
            predictor(picture(size, size))
    assert predictor.backend == "wrong"
    assert seen == [24, 28]


@pytest.fixture
def folder(tmp_path):
    checkpoints.write(tmp_path / "model.pt", unet(seed=5).state_dict())
    for number in range(2):
        image = np.random.RandomState(number).randint(0, 255, (40, 56)).astype(np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "in" / f"{number}.tif", image)
    return tmp_path


def infer(bundle_run, folder, name, **options):
    done = bundle_run(
        "inference",
        "configs/inference.json",
        **{"dataset_dir": str(folder / "in"), "checkpoint": str(folder / "model.pt")},
        **{"output_dir": str(folder / name), "precision": "fp32", "tile_size": 24, **options},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, {row["backend"] for row in table(folder / name / "summary.csv")}


def test_the_default_of_the_command(bundle_run, folder):
    said, backends = infer(bundle_run, folder, "out")
    assert said.count("backend eager: ") == 1
    assert "OpenVINO, slow to start, is faster from 3.3 on" in said
    assert backends == {"eager"}


def test_each_large_image_is_a_job_of_its_own_and_keeps_its_backend(monkeypatch):
    monkeypatch.setattr(BACKENDS["openvino"].__class__, "missing", lambda self: [])
    predictors = Predictors(wide(16))
    of_one, of_other = predictors([(512, 512)]), predictors([(40000, 40000)])
    assert (of_one.backend, of_other.backend) == ("eager", "openvino")
    assert predictors([(600, 600)]) is of_one
    assert predictors([(512, 512)], "openvino") is of_other
    assert Predictors(wide(16), "eager")([(40000, 40000)], "openvino").backend == "eager", "what is said stays"


def test_a_neighbour_changes_nothing_of_what_is_there(bundle_run, folder, monkeypatch):
    """Neither of a complete result, nor of a new one."""
    pytest.importorskip("openvino")
    _, backends = infer(bundle_run, folder, "out", by_blocks=True, backend="openvino")
    assert backends == {"openvino"}
    tifffile.imwrite(folder / "in" / "2.tif", np.random.RandomState(2).randint(0, 255, (40, 56)).astype(np.uint8))
    said, backends = infer(bundle_run, folder, "out", by_blocks=True)
    assert said.count("backend openvino: which this result was begun with") == 2
    assert said.count("is complete: nothing is left to do") == 2
    assert backends == {"openvino", "eager"}
    assert "computed by openvino and PyTorch in fp32. Cells are read by threshold 0." in (
        folder / "out" / "index.html"
    ).read_text(encoding="utf-8")
