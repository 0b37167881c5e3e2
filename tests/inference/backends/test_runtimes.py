"""Every backend computes what eager torch computes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from bundle.inference.backends import BACKENDS, prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.precision import resolve_precision
from bundle.networks import DCN, FCN, FPN, MultiLevel, UNet, WindowCNN
from tests.conftest import ROOT
from tests.inference.backends.cases import TOLERANCE, difference, needs, picture, unet


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tiles_equal_those_of_eager_torch(backend, precision, norm):
    if precision not in BACKENDS[backend].precisions:
        pytest.skip(f"{backend} has no {precision}")
    network = unet(norm=norm)
    image = picture(41, 30)
    expected = OverlapTileInferer(tile_size=24)(image, network)
    found = OverlapTileInferer(tile_size=24, precision=precision)(image, prepare_network(network, backend))
    assert found.dtype == torch.float32
    assert difference(found, expected) <= TOLERANCE[precision]
    if precision == "bf16" and resolve_precision("auto", "cpu") == "bf16":
        assert difference(found, expected) > 1e-3  # it was bf16 indeed


@pytest.mark.parametrize("norm", [None, "batch"])
def test_volumes_equal_those_of_eager_torch(backend, norm):
    network = unet(spatial_dims=3, norm=norm)
    image = picture(17, 9, 12)
    expected = OverlapTileInferer(tile_size=24)(image, network)
    found = OverlapTileInferer(tile_size=24)(image, prepare_network(network, backend))
    assert difference(found, expected) <= TOLERANCE["fp32"]


@pytest.mark.parametrize(
    "network",
    [
        UNet(2, 2, 3, base_channels=4, depth=2, padding="same"),
        UNet(3, 1, 2, base_channels=4, depth=2, flat_levels=[0, 0, 1]),
        DCN(2, 1, 2, base_channels=4, norm="batch"),
        FCN(2, 1, 2, base_channels=4),
        FPN(2, 1, 2, base_channels=4),
        MultiLevel(2, 1, 2, base_channels=4),
        WindowCNN(1, 2, window=65, base_channels=4, hidden_units=5),
    ],
    ids=lambda network: type(network).__name__,
)
def test_openvino_converts_every_network_once_for_tiles_of_all_sizes(network):
    needs("openvino")
    network.eval()
    axes = network.geometry.axes(network.spatial_dims)
    prepared = prepare_network(network, "openvino")
    converted = set()
    for steps in (1, 0, 3):
        tile = torch.randn(1, network.in_channels, *(axis.smallest_input + (2 + steps) * axis.step for axis in axes))
        with torch.no_grad():
            assert difference(prepared(tile), network(tile)) <= TOLERANCE["fp32"]
        converted.add(id(prepared._converted[0]))
    assert len(converted) == 1


def test_tiles_of_several_shapes_and_all_their_turns(backend):
    network = unet()
    prepared = prepare_network(network, backend)
    for tile_size in (24, (24, 30), 24):
        for tta in ("none", "d4"):
            inferer = OverlapTileInferer(tile_size=tile_size, tta=tta)
            image = picture(20, 25)
            assert difference(inferer(image, prepared), inferer(image, network)) <= TOLERANCE["fp32"]


def test_results_of_earlier_tiles_stay(backend):
    prepared = prepare_network(unet(), backend)
    tiles = picture(24, 24), picture(24, 24) * 2
    first = prepared(tiles[0])
    kept = first.clone()
    prepared(tiles[1])
    assert torch.equal(first, kept)


TELLS = """
import sys, torch
from bundle.inference.backends import prepare_network
from bundle.inference.backends.calibration import calibrated
from bundle.networks import UNet
network = UNet(2, 1, 2, base_channels=2, depth=1).eval()
with torch.no_grad():
    prepare_network(network, "openvino")(torch.rand(1, 1, 24, 24))
    if sys.argv[1] == "nncf":
        calibrated(network, [torch.rand(1, 1, 24, 24)])
assert {"openvino", sys.argv[1]} <= set(sys.modules)
print("telemetry:", sys.modules.get("openvino_telemetry"))
"""


@pytest.mark.parametrize("package", ["openvino", "nncf"])
def test_openvino_and_nncf_tell_nobody_that_they_were_used(package):
    needs("openvino")
    if package == "nncf" and not find_spec("nncf"):
        pytest.skip("nncf not installed")
    done = subprocess.run([sys.executable, "-c", TELLS, package], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["telemetry: None"], done.stderr


def test_auto_is_what_the_backend_has(backend):
    prepared = prepare_network(unet(), backend)
    here = resolve_precision("auto", "cpu")
    assert resolve_precision("auto", "cpu", prepared) == ("fp32" if backend == "onnxruntime" else here)


SIGNALLED = """
import gc, os, signal, torch
from bundle.inference.backends.runtimes import BACKENDS
from bundle.networks import UNet

network = UNet(spatial_dims=2, in_channels=1, out_channels=2, base_channels=2, depth=1).eval()
tile, runtime = torch.zeros(1, 1, 28, 28), BACKENDS["openvino"]
with torch.no_grad():
    graph = runtime.convert(network, tile)
    first, second = (runtime.prepare(graph, tile, "bf16") for _ in range(2))
    first(tile), second(tile)
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGCHLD, lambda *_: print("signalled"))
if os.fork() == 0:
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no such signals")
def test_a_signal_after_networks_are_gone_does_not_end_the_process():
    """As of a worker of a data loader that ends; seen on processors with AMX."""
    needs("openvino")
    done = subprocess.run([sys.executable, "-c", SIGNALLED], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "signalled\n"), done.stderr
