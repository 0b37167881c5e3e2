"""A network in a backend: from the weights as they are when it is called, prepared once for each shape."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from monai.data import MetaTensor
from torch._inductor import config as inductor

from bundle.inference.backends import BACKENDS, prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from tests.inference.backends.cases import TOLERANCE, difference, needs, picture, unet


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


def test_images_of_nearly_one_size_share_a_tile(counted):
    network = unet()
    prepared, inferer = prepare_network(network, "counted"), OverlapTileInferer()
    for size in ((204, 204), (198, 204), (204, 200), (200, 198), (60, 60), (200, 202)):
        image = picture(*size)
        assert difference(inferer(image, prepared), OverlapTileInferer()(image, network)) <= TOLERANCE["fp32"]
    assert len(counted) == 3, counted
    small = OverlapTileInferer(max_memory=inferer.tile_memory(counted[-1], 1, prepared) - 1)
    assert small(picture(200, 202), prepared).shape == (1, 2, 200, 202)
    assert len(counted) == 4, "what is prepared does not fit"


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
