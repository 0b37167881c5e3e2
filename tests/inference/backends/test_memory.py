"""What a backend takes beside the activations bounds the tile, and is not exceeded."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bundle.inference.backends import BackendNetwork
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.tile_cost import TileCost
from bundle.networks import UNet
from tests.conftest import ROOT
from tests.inference.backends.cases import needs


def test_copies_of_the_weights_and_more_headroom_leave_less_for_the_tile():
    network = UNet(2, 1, 2, base_channels=8).eval()
    weights = sum(parameter.nbytes for parameter in network.parameters())

    def tile(predictor, tta="none"):
        inferer = OverlapTileInferer(max_memory="100 MiB", tta=tta)
        return np.prod(inferer.choose_tile((1400, 700), 1, predictor))

    assert tile(BackendNetwork(network, "eager")) == tile(network)  # nothing to fold
    areas = [tile(BackendNetwork(network, name)) for name in ("eager", "openvino", "onnxruntime")]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[2]
    turned = BackendNetwork(network, "openvino")
    assert turned.peak_memory(0, shapes=2) - turned.peak_memory(0) == 4 * weights
    folded = BackendNetwork(UNet(2, 1, 2, base_channels=8, norm="batch").eval(), "eager")
    assert folded.peak_memory(0) > 2 * weights


MEASURE = """
import re, sys, torch
from bundle.inference.backends import prepare_network
from bundle.inference.backends.calibration import calibrated
from bundle.networks import UNet
torch.set_num_threads(1)
torch.manual_seed(0)

def status(key):
    return 1024 * int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

with torch.no_grad():
    def ready(width, norm=None):
        network = UNet(2, 1, 2, base_channels=width, norm=norm).eval()
        if sys.argv[1] != "int8":
            return prepare_network(network, sys.argv[1])
        return prepare_network(network, "openvino", calibrated(network, [torch.rand(1, 1, 204, 204)]))

    ready(2)(torch.rand(1, 1, 188, 188))  # imports
    prepared = ready(16, "batch")
    tile = torch.rand(1, 1, 892, 892)
    open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
    before = status("VmRSS")
    prepared(tile), prepared(tile)
print(status("VmHWM") - before)
"""


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "int8"])
def test_memory_is_bounded_by_the_model(backend):
    if backend == "int8" and find_spec("nncf") is None:
        pytest.skip("nncf not installed")
    by = "openvino" if backend == "int8" else backend
    needs(by)
    done = subprocess.run([sys.executable, "-c", MEASURE, backend], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    taken = int(done.stdout.split()[-1])
    network = UNet(2, 1, 2, base_channels=16, norm="batch").eval()
    counted = TileCost(network, network.geometry, 1, 2).memory((892, 892))
    assert 0.5 * counted < taken < BackendNetwork(network, by).peak_memory(counted) + 50 * 2**20
