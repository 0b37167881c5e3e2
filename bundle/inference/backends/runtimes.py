"""How each backend turns a network into a function of tiles, and what that takes.

Whatever computes, batch normalisation is merged into the convolutions first, so eager torch gains from it as well.
OpenVINO reads the network by itself, once for tiles of all sizes; ONNX Runtime gets an ONNX export of each size.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn

from bundle.geometry import Geometry

Predict = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Runtime:
    """What a backend is and needs.

    Attributes:
        prepare: (converted network, tile, precision) -> function that maps such tiles to logits. Runs without
            gradients, and under autocast where the precision is "bf16".
        convert: (network, tile) -> what ``prepare`` takes, for tiles of all sizes.
        packages: what must be installed beside torch; the extra of this name in pyproject.toml installs them.
        precisions: what it computes in.
        per_shape: what it prepares serves tiles of one shape only.
        cpu_only: it computes fp32 tensors on the CPU and nothing else.
        headroom: peak memory of a pass over the activations that :class:`bundle.inference.tile_cost.TileCost` counts.
        copies: of the weights that it makes, beside the network's own. This and ``headroom`` bound from above what
            was measured of resident memory, at widths 16 and 64 and tiles of 700 to 2236 px; about 50 MiB that
            every export takes are not in it.
    """

    prepare: Callable[[Any, torch.Tensor, str], Predict]
    headroom: float
    copies: float
    convert: Callable[[nn.Module, torch.Tensor], Any] = lambda network, tile: fold(network)
    packages: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32", "bf16")
    per_shape: bool = True
    cpu_only: bool = False

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


def folds(network: nn.Module) -> bool:
    """Whether :func:`fold` changes the network."""
    normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    return normalised and hasattr(network, "fold_batch_norm")


def fold(network: nn.Module) -> nn.Module:
    """The network with its batch normalisation merged into the convolutions, where it knows how."""
    return network.fold_batch_norm() if folds(network) else network  # type: ignore[operator]


def _eager(network: nn.Module, tile: torch.Tensor, precision: str) -> Predict:
    return network


def _compile(network: nn.Module, tile: torch.Tensor, precision: str) -> Predict:
    from torch._inductor import config

    # a program of its own for every call: torch.compile would recognise the network's code, and fill up its cache
    with quiet():
        program = torch.export.export(network, (tile,)).module()
    compiled = torch.compile(program, fullgraph=True, dynamic=False)
    with config.patch(freezing=True):  # weights are constants, laid out as the convolutions want them
        compiled(tile)
    return compiled


def _onnxruntime(network: nn.Module, tile: torch.Tensor, precision: str) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_mem_pattern = False  # as fast without, at three quarters of the memory
    session = onnxruntime.InferenceSession(onnx_model(network, tile), options, providers=["CPUExecutionProvider"])
    (name,) = (node.name for node in session.get_inputs())

    def predict(tile: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {name: tile.numpy()})[0])

    return predict


def _openvino_graph(network: nn.Module, tile: torch.Tensor) -> Any:
    """The network as OpenVINO has it, for tiles of any size: sizes within it follow from the tile's.

    It is traced, which computes it several times: with the smallest tile.
    """
    openvino = import_openvino()
    geometry: Geometry | None = getattr(network, "geometry", None)
    if geometry is not None:
        axes = geometry.axes(tile.dim() - 2)
        tile = tile.new_zeros(*tile.shape[:2], *(axis.smallest_input + axis.step for axis in axes))
    with torch.autocast("cpu", enabled=False), quiet():
        return openvino.convert_model(fold(network), example_input=tile)


def graph_of_int8(graph: str, constants: torch.Tensor) -> Any:
    """A network in int8 as OpenVINO has it, see :class:`bundle.model.int8_file.Int8Network`."""
    return _core().read_model(model=graph, weights=import_openvino().Tensor(constants.numpy()))


@functools.cache
def _core() -> Any:
    """One for the whole process: on processors with AMX each brings a stack for signals, and when several end, a signal
    would find that of one that is gone."""
    return import_openvino().Core()


def _openvino(graph: Any, tile: torch.Tensor, precision: str) -> Predict:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # left to itself it takes bf16 wherever the processor has it; of int8 the few parts that stay are in fp32, since
        # converting to and from bf16 costs more than it saves
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    of_this_size = graph.clone()
    of_this_size.reshape(list(tile.shape))
    compiled = _core().compile_model(of_this_size, "CPU", options)

    def predict(tile: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(compiled(tile.numpy())[0])  # a copy: its own memory is written anew for each tile

    return predict


def import_openvino(name: str = "openvino") -> ModuleType:
    """The package, or one on top of it, kept from telling Google Analytics that it was imported and used."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if not installed
    return importlib.import_module(name)


def onnx_model(network: nn.Module, tile: torch.Tensor, dynamic_shapes: Any = None) -> bytes:
    """The network as an ONNX model, in fp32: precision is for those who read it.

    Args:
        network: in evaluation mode.
        tile: what it is traced with.
        dynamic_shapes: as of ``torch.export.export``; None: for tiles of this shape alone.
    """
    with torch.autocast("cpu", enabled=False), torch.no_grad(), quiet():
        program = torch.export.export(fold(network), (tile,), dynamic_shapes=dynamic_shapes)
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    assert exported is not None  # it is with dynamo
    return bytes(exported.model_proto.SerializeToString())


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Without the words of loggers, by default the exporters', on deprecated parts of torch and on packages that we do
    not use."""
    loggers = [logging.getLogger(name) for name in names or ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


#: name -> runtime, the default first
BACKENDS = {
    "eager": Runtime(_eager, headroom=1.3, copies=2, per_shape=False),
    "compile": Runtime(_compile, headroom=1.3, copies=3),
    "onnxruntime": Runtime(
        _onnxruntime,
        headroom=2.2,
        copies=5,
        packages=("onnx", "onnxscript", "onnxruntime"),
        precisions=("fp32",),  # its convolutions know no bf16 on a CPU
        cpu_only=True,
    ),
    "openvino": Runtime(
        _openvino, headroom=1.3, copies=4, convert=_openvino_graph, packages=("openvino",), cpu_only=True
    ),
}
