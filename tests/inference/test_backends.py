"""Every backend computes what eager torch computes, from the weights as they are when it is called."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from torch._inductor import config as inductor

from benchmarks import backends as benchmark
from benchmarks.timing import CheckError, Options
from bundle.inference.backends import BACKENDS, BackendNetwork, prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.precision import resolve_precision
from bundle.inference.tile_cost import TileCost
from bundle.model import checkpoints
from bundle.networks import DCN, FCN, FPN, MultiLevel, UNet, WindowCNN
from tests.conftest import ROOT
from transforms import Standardize

#: largest difference from eager fp32, over the largest logit
TOLERANCE = {"fp32": 1e-5, "bf16": 0.05}


def needs(backend: str) -> None:
    if missing := BACKENDS[backend].missing():
        pytest.skip(f"{', '.join(missing)} not installed")


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    needs(request.param)
    return request.param


def unet(spatial_dims=2, norm: str | None = "batch", seed=0) -> UNet:
    torch.manual_seed(seed)
    # torch.compile writes 8 numbers or fewer into its program: more channels, and all tests share its compiled parts
    network = UNet(spatial_dims, 1, 2, base_channels=12, depth=1, norm=norm)
    # statistics and affine maps unlike the initial ones, which folding would leave the weights alone with
    network(torch.randn(4, 1, *[network.geometry.smallest_input + 4] * spatial_dims) * 2 + 1)
    for name, parameter in network.named_parameters():
        if name.endswith("bias") and name != "classify.bias":
            torch.nn.init.normal_(parameter)
    return network.eval()


def picture(*size: int) -> torch.Tensor:
    return torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(1))


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture
def counted(monkeypatch):
    """A backend "counted" that computes with a copy of the network, and the list of what it was prepared for."""
    calls: list[tuple[int, ...]] = []

    def prepare(network, tile, precision):
        calls.append(tuple(tile.shape[2:]))
        return BACKENDS["eager"].prepare(network, tile, precision)

    monkeypatch.setitem(BACKENDS, "counted", dataclasses.replace(BACKENDS["compile"], prepare=prepare))
    return calls


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


def test_what_is_prepared_is_no_part_of_the_module(backend):
    """Counting the cost of a tile swaps the parts of a module for others, and must leave it as it was."""
    network = unet()
    prepared = prepare_network(network, backend)
    names = [name for name, _ in prepared.named_parameters()]
    image = picture(30, 30)
    expected = OverlapTileInferer()(image, network)
    for _ in range(2):
        for precision in prepared.precisions:
            found = OverlapTileInferer(precision=precision)(image, prepared)
            assert difference(found, expected) <= TOLERANCE[precision]
    assert [name for name, _ in prepared.named_parameters()] == names


def test_tiles_of_several_shapes_and_all_their_turns(backend):
    network = unet()
    prepared = prepare_network(network, backend)
    for tile_size in (24, (24, 30), 24):
        for tta in ("none", "d4"):
            inferer = OverlapTileInferer(tile_size=tile_size, tta=tta)
            image = picture(20, 25)
            assert difference(inferer(image, prepared), inferer(image, network)) <= TOLERANCE["fp32"]


def test_weights_loaded_later_are_the_ones_used(backend):
    network = unet(seed=0)
    prepared = prepare_network(network, backend)
    tile = picture(24, 24)
    outputs = []
    for seed, assign in ((1, False), (2, False), (3, True)):
        network.load_state_dict(unet(seed=seed).state_dict(), assign=assign)
        with torch.no_grad():
            outputs.append(network(tile))
        assert difference(prepared(tile), outputs[-1]) <= TOLERANCE["fp32"]
    assert difference(outputs[0], outputs[1]) > 0.1
    assert difference(outputs[1], outputs[2]) > 0.1


@pytest.mark.parametrize(
    "change",
    [
        lambda network: network.load_state_dict(unet(seed=1).state_dict()),
        lambda network: network.load_state_dict(unet(seed=1).state_dict(), assign=True),
        lambda network: network.classify.weight.mul_(2),
        lambda network: network.down[0][1].running_mean.add_(1),
        lambda network: network.bfloat16().float(),
        lambda network: setattr(network.classify, "bias", torch.nn.Parameter(torch.ones(2))),
    ],
    ids=["load", "assign", "parameter", "buffer", "rounded", "replaced"],
)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_every_change_of_the_weights_is_seen_once(counted, change, mode):
    network = unet()
    prepared = prepare_network(network, "counted")
    tile = picture(24, 24)
    first = prepared(tile)
    assert torch.equal(prepared(tile), first)
    assert len(counted) == 1
    with mode():
        change(network)
        found = prepared(tile)
        assert not torch.equal(found, first)
        assert torch.equal(prepared(tile), found)
        assert difference(found, network(tile)) <= TOLERANCE["fp32"]
    assert len(counted) == 2


def test_a_shape_is_prepared_once_and_another_size_takes_its_place(counted):
    prepared = prepare_network(unet(), "counted")
    for size in ((24, 30), (24, 30), (30, 24), (24, 30), (24, 24), (24, 30)):
        prepared(picture(*size))
    assert counted == [(24, 30), (30, 24), (24, 24), (24, 30)]
    del counted[:]
    OverlapTileInferer(tta="d4")(picture(8, 14), prepared)  # the tile is chosen anew for each turned image
    assert counted == [(24, 30), (30, 24)][-len(counted) :]


def test_each_precision_is_prepared_and_takes_the_place_of_the_other(counted):
    prepared = prepare_network(unet(), "counted")
    tile = picture(24, 24)
    for enabled in (False, True, True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            assert prepared(tile).dtype == (torch.bfloat16 if enabled else torch.float32)
    assert len(counted) == 3


def test_inference_mode_and_metadata(backend):
    network = unet()
    tile = MetaTensor(picture(24, 24).transpose(2, 3), meta={"a": 5})
    with torch.no_grad():
        expected = network(tile.as_tensor())
    prepared = prepare_network(network, backend)
    with torch.inference_mode():
        assert difference(prepared(tile), expected) <= TOLERANCE["fp32"]
    with torch.compiler.set_stance("fail_on_recompile"):  # what was prepared there serves outside
        assert difference(prepared(tile.requires_grad_()), expected) <= TOLERANCE["fp32"]


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


def test_the_network_is_left_alone(counted):
    network = unet()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    prepared = prepare_network(network, "counted")
    inferer = OverlapTileInferer()
    assert inferer(picture(30, 30), prepared).shape == (1, 2, 30, 30)
    assert len(counted) == 1  # counting the cost of tiles has prepared none
    torch.testing.assert_close(dict(network.state_dict()), before)
    assert not prepared.training
    assert not network.training
    assert prepared.train().module.training
    with pytest.raises(ValueError, match=r"needs a network in evaluation mode: call network\.eval\(\)"):
        prepared(picture(24, 24))


def test_scripted_networks_run_eagerly_only():
    network = unet()
    scripted = torch.jit.script(network)
    tile = picture(24, 24)
    assert difference(prepare_network(scripted)(tile), network(tile)) <= TOLERANCE["fp32"]
    with pytest.raises(TypeError, match="'compile' cannot export a TorchScript network: use 'eager'"):
        prepare_network(scripted, "compile")


def test_errors(monkeypatch):
    network = unet()
    with pytest.raises(ValueError, match="must be one of eager, compile, onnxruntime, openvino, got 'tensorrt'"):
        prepare_network(network, "tensorrt")
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got function"):
        prepare_network(lambda tile: tile)
    absent = dataclasses.replace(BACKENDS["openvino"], packages=("onnx", "no_such_package"))
    monkeypatch.setitem(BACKENDS, "openvino", absent)
    with pytest.raises(
        RuntimeError, match=r"needs .*no_such_package, not installed here: pip install -c constraints\.txt openvino"
    ):
        prepare_network(network, "openvino")
    # restored by its own means: pytest's would hide the option from all that comes after
    with (
        inductor.patch({"cpp.cxx": "no-such-compiler"}),
        pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler.*install g\+\+.*CXX"),
    ):
        prepare_network(network, "compile")


def test_what_a_backend_cannot_compute_is_refused():
    tile = picture(24, 24)
    with (
        torch.autocast("cpu", dtype=torch.float16),
        pytest.raises(ValueError, match=r"in precision torch\.float16: allowed are auto, fp32, bf16$"),
    ):
        prepare_network(unet())(tile)
    needs("onnxruntime")
    prepared = prepare_network(unet(), "onnxruntime")
    with pytest.raises(
        ValueError, match="bf16: allowed are auto, fp32; backends eager, compile, openvino compute bf16"
    ):
        OverlapTileInferer(precision="bf16")(tile, prepared)
    with pytest.raises(ValueError, match=r"fp32 on the CPU \(--device cpu\), got torch.float64 on cpu"):
        prepared(tile.double())
    with pytest.raises(ValueError, match="input size 25 px is not valid at depth 1"):
        prepared(picture(24, 25))


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
from bundle.networks import DCN, FCN, FPN, MultiLevel, UNet, WindowCNN
torch.set_num_threads(1)
torch.manual_seed(0)

def status(key):
    return 1024 * int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

with torch.no_grad():
    prepare_network(UNet(2, 1, 2, base_channels=2).eval(), sys.argv[1])(torch.rand(1, 1, 188, 188))  # imports
    prepared = prepare_network(UNet(2, 1, 2, base_channels=16, norm="batch").eval(), sys.argv[1])
    tile = torch.rand(1, 1, 892, 892)
    open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
    before = status("VmRSS")
    prepared(tile), prepared(tile)
print(status("VmHWM") - before)
"""


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_memory_is_bounded_by_the_model(backend):
    needs(backend)
    done = subprocess.run([sys.executable, "-c", MEASURE, backend], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    taken = int(done.stdout.split()[-1])
    network = UNet(2, 1, 2, base_channels=16, norm="batch").eval()
    counted = TileCost(network, network.geometry, 1, 2).memory((892, 892))
    assert 0.5 * counted < taken < BackendNetwork(network, backend).peak_memory(counted) + 50 * 2**20


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
    monkeypatch.setattr(benchmark, "BACKENDS", quick)
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
    monkeypatch.setattr(benchmark, "BACKENDS", {"eager": wrong})
    with pytest.raises(CheckError, match="eager, fp32: differs from eager fp32"):
        next(benchmark.run(Options(repeats=1, base_channels=2), size=24))
