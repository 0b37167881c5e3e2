"""Networks in int8: near those in fp32, the same in tiles of any size, and never taken for another network's."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from benchmarks import int8 as benchmark
from benchmarks.timing import CheckError, Options
from bundle.inference.backends import calibration, network, prepare_network
from bundle.inference.backends.calibration import calibrated
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.precision import MixedPrecisionInferer, resolve_precision
from bundle.model import TrainedNetwork, checkpoints
from bundle.model.card import write_card
from bundle.model.int8_file import Int8Network, digest_of, int8_file
from bundle.model.publish import publish
from tests.inference.backends.cases import difference, picture, unet

if find_spec("nncf") is None:
    pytest.skip("nncf not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def made():
    trained = unet()
    return trained, calibrated(trained, [picture(60, 60), picture(60, 60) * 0.5])


@pytest.fixture
def computed(made):
    return prepare_network(made[0], "openvino", made[1])


def test_it_is_near_fp32_and_is_not_it(made, computed):
    image = picture(60, 60)
    expected = OverlapTileInferer(tile_size=24)(image, made[0])
    found = OverlapTileInferer(tile_size=24, precision="int8")(image, computed)
    assert found.dtype == torch.float32
    assert 1e-4 < difference(found, expected) < 0.1
    assert computed.precisions == ("int8",)


def test_weights_have_eight_bits(made):
    trained, int8 = made
    convolutions = [module for module in trained.modules() if isinstance(module, torch.nn.Conv2d)]
    assert int8.graph.count('element_type="i8"') >= len(convolutions)
    in_fp32 = sum(module.weight.numel() for module in convolutions) * 4
    assert int8.constants.numel() < 0.5 * in_fp32
    assert "rt_info" not in int8.graph.split("</layers>")[-1], "where and how it was made is nobody's business"


@pytest.mark.parametrize("size", [(24, 24), (28, 44), (52, 36), (100, 100)])
def test_tiles_of_any_size_are_equal_to_one_pass(computed, size):
    image = picture(41, 37)
    whole = OverlapTileInferer(tile_size=(60, 60), precision="int8")(image, computed)
    assert torch.equal(OverlapTileInferer(tile_size=size, precision="int8")(image, computed), whole)


def test_volumes():
    trained = unet(spatial_dims=3)
    int8 = prepare_network(trained, "openvino", calibrated(trained, [picture(28, 28, 28)]))
    image = picture(17, 9, 12)
    whole = OverlapTileInferer(precision="int8")(image, int8)
    assert torch.equal(OverlapTileInferer(tile_size=24, precision="int8")(image, int8), whole)
    assert difference(whole, OverlapTileInferer(tile_size=24)(image, trained)) < 0.1


def test_a_network_whose_tiles_disagree_is_not_written(monkeypatch, made):
    monkeypatch.setattr(torch, "equal", lambda *_: False)
    with pytest.raises(ValueError, match=r"UNet in int8 does not tell the same in tiles of two sizes .* seams"):
        calibrated(made[0], [picture(60, 60)])


def test_the_file(made, tmp_path):
    trained, int8 = made
    checkpoint = tmp_path / "model.pt"
    with pytest.raises(FileNotFoundError, match=r"precision int8 needs .*model\.int8\.pt, which does not exist: make"):
        Int8Network.beside(checkpoint)
    path = int8.write(checkpoint)
    assert path == tmp_path / "model.int8.pt" == int8_file(checkpoint)
    read = Int8Network.beside(checkpoint)
    assert (read.graph, read.of, read.path) == (int8.graph, digest_of(trained.state_dict()), str(path))
    tile = picture(24, 24)
    assert torch.equal(
        prepare_network(trained, "openvino", read)(tile), prepare_network(trained, "openvino", int8)(tile)
    )
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    with pytest.raises(ValueError, match=r"model\.int8\.pt cannot be read: it is damaged"):
        Int8Network.beside(checkpoint)
    checkpoints.write(path, trained.state_dict())
    with pytest.raises(ValueError, match=r"model\.int8\.pt is no int8 network: make one"):
        Int8Network.beside(checkpoint)


def test_weights_that_it_was_not_made_from_are_refused(made, tmp_path):
    trained, int8 = unet(), made[1]
    int8.write(tmp_path / "model.pt")
    prepared = prepare_network(trained, "openvino", Int8Network.beside(tmp_path / "model.pt"))
    prepared(picture(24, 24))
    with torch.no_grad():
        trained.classify.bias.add_(1e-6)
    with pytest.raises(ValueError, match=r"model\.int8\.pt was made from another network than the one it stands besi"):
        prepared(picture(24, 24))


def test_what_cannot_be(made, monkeypatch):
    trained, int8 = made
    with pytest.raises(ValueError, match="precision int8 is computed by backend 'openvino' alone, got 'eager'"):
        prepare_network(trained, "eager", int8)
    with pytest.raises(ValueError, match="precision int8 needs a network in int8"):
        OverlapTileInferer(tile_size=24, precision="int8")(picture(24, 24), trained)
    with pytest.raises(ValueError, match="must be one of auto, fp32, bf16 in training, got 'int8': train first"):
        MixedPrecisionInferer("int8")
    with pytest.raises(ValueError, match="does not compute in precision bf16: allowed are auto, int8"):
        OverlapTileInferer(tile_size=24, precision="bf16")(picture(24, 24), prepare_network(trained, "openvino", int8))
    with pytest.raises(ValueError, match="there is no image to calibrate on"):
        calibrated(trained, [])
    assert resolve_precision("int8", "cpu") == "int8"
    monkeypatch.setattr(network.torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "cpu_name": "Old"})
    with pytest.raises(RuntimeError, match=r"needs a processor with VNNI .* which this one, Old, has not"):
        prepare_network(trained, "openvino", int8)
    monkeypatch.setattr(calibration, "find_spec", lambda name: None if name == "nncf" else name)
    with pytest.raises(RuntimeError, match=r'needs nncf, not installed here: pip install -c constraints\.txt -e "\.\['):
        calibrated(trained, [picture(24, 24)])


def test_it_goes_with_the_network_that_is_published(made, tmp_path):
    trained, int8 = made
    run = tmp_path / "run"
    checkpoints.write(run / "best.pt", {"network": trained.state_dict()})
    checkpoints.write(run / "last.pt", {"network": trained.state_dict(), "complete": True})
    write_card(run / "card.json", {"run": "run", "network": None})
    int8.write(run / "best.pt")
    model = tmp_path / "models" / "model.pt"
    publish(run, model)
    Int8Network.beside(model).require_of(TrainedNetwork(model).weights)
    int8_file(run / "best.pt").unlink()
    other = unet(seed=1)
    checkpoints.write(run / "best.pt", {"network": other.state_dict()})
    publish(run, model)
    assert not int8_file(model).exists(), "of the network that was there"


def test_the_benchmark_compares_it_with_bf16_and_the_sliding_window():
    tables = list(benchmark.run(Options(repeats=1, base_channels=4), size=40, window=32))
    assert [len(table.targets) for table in tables] == [2, 1]
    for table in tables:
        assert [row[0].partition(",")[0] for row in table.rows] == ["int8", "bf16", "bf16", "fp32", "BasicUNet"]


def test_the_benchmark_does_not_time_one_that_is_wrong(monkeypatch):
    monkeypatch.setattr(benchmark, "TOLERANCE", 1e-6)
    with pytest.raises(CheckError, match="int8 differs from fp32 by"):
        next(benchmark.run(Options(repeats=1, base_channels=4), size=40, window=32))
