"""A network that another runtime computes, for inference."""

from __future__ import annotations

import logging
import time
from itertools import chain
from typing import Any

import torch
from torch import nn

from bundle.inference.backends.runtimes import BACKENDS, Predict, fold, folds, graph_of_int8
from bundle.model.int8_file import Int8Network

logger = logging.getLogger(__name__)

#: largest difference from eager torch, over the largest logit, of a backend that nobody asked for: several times what
#: rounding makes, and far less than what another network would tell
_AS_GOOD = {"fp32": 1e-3, "bf16": 0.25}
#: without one of these OpenVINO computes int8 in more steps, slower and not as exactly
_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")

#: (precision, device, dtype, shape) of the tiles that a prepared function takes
_Key = tuple[str, torch.device, torch.dtype, tuple[int, ...]]


def prepare_network(
    network: nn.Module, backend: str = "eager", int8: Int8Network | None = None, check: bool = False
) -> BackendNetwork:
    """The network as ``backend`` computes it: "eager", "compile", "onnxruntime" or "openvino".

    Nothing is computed yet: see :class:`BackendNetwork`.

    Args:
        network: in fp32.
        backend: that computes it.
        int8: its form in 8 bit integers, which OpenVINO computes in its place.
        check: compare the first tile with eager torch, and go on with that where they differ or the backend fails.

    Raises:
        TypeError: when the network is not an ``nn.Module``, or a TorchScript one and the backend not "eager".
        ValueError: for another backend, or another one than "openvino" with ``int8``.
        RuntimeError: for ``int8`` on a processor without instructions for it, and when a package or the C++ compiler
            that the backend needs is missing; the message names it.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    runtime = BACKENDS[backend]
    if not isinstance(network, nn.Module):
        raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}")
    if runtime.per_shape and isinstance(network, torch.jit.ScriptModule):
        raise TypeError(f"backend {backend!r} cannot export a TorchScript network: use 'eager', or the network itself")
    if int8 is not None:
        _require_int8(backend)
    if missing := runtime.missing():
        extra = "-e '.[onnxruntime]'" if backend == "onnxruntime" else backend
        raise RuntimeError(
            f"backend {backend!r} needs {' and '.join(missing)}, not installed here: "
            f"pip install -c constraints.txt {extra}"
        )
    if backend == "compile" and next(network.parameters(), torch.empty(0)).device.type == "cpu":
        _require_compiler()
    return BackendNetwork(network, backend, int8, check)


class BackendNetwork(nn.Module):
    """Maps tiles to logits as ``module`` does in evaluation mode, computed by another runtime. No gradients.

    Exporting and compiling take seconds, so they wait for the first tile: by then the weights are loaded. They are
    repeated for another shape of tile, precision or device, and whenever the weights have changed: each call looks
    whether a tensor of the network was replaced or written to (what bypasses torch's version counters, a write
    through ``.data`` or through numpy, goes unseen). Tiles of one size, turned or not, are kept side by side;
    another size or precision takes their place. Images of different sizes are therefore best cut into tiles of one
    given size.

    Precision is torch's autocast, as for any network: "bf16" under ``torch.autocast`` to bfloat16, which
    :class:`bundle.inference.overlap_tile.OverlapTileInferer` enters by its ``precision``.

    Args:
        module: the network; its weights may still be loaded or changed.
        backend: one of :data:`bundle.inference.backends.BACKENDS`.
        int8: the module in 8 bit integers, made from its weights: computed in place of the module.
        check: the backend was nobody's wish: eager torch takes its place, for good, where the first tile differs by
            more than rounding, or cannot be computed.

    Shape:
        input: BCHW[D] as the module's; fp32 on the CPU for "onnxruntime" and "openvino".
        output: BNHW[D] logits as the module's, in its dtype or that of autocast; fp32 from those two.

    Raises:
        ValueError: in ``forward``, for a precision, dtype or device that the backend does not compute, for a network
            in training mode, for ``int8`` of other weights, and what the module itself raises.
    """

    def __init__(self, module: nn.Module, backend: str, int8: Int8Network | None = None, check: bool = False) -> None:
        super().__init__()
        self.module = module  # the name under which DataParallel keeps it, and others look for it
        self.training = module.training
        self.backend = backend
        self.spatial_dims = getattr(module, "spatial_dims", None)
        self.int8 = int8
        self._check = check and backend != "eager" and int8 is None
        self._runtime = BACKENDS[backend]
        self._converted: list[Any] = []  # one at most; in a list, or torch would take it for a part of this module
        self._prepared: dict[_Key, Predict] = {}
        self._seen: list[tuple[torch.Tensor, int]] = []

    @property
    def precisions(self) -> tuple[str, ...]:
        """What the backend computes in, of "fp32", "bf16" and "int8"."""
        return self._runtime.precisions if self.int8 is None else ("int8",)

    @property
    def prepared_sizes(self) -> list[tuple[int, ...]]:
        """Spatial sizes of the tiles that need no more preparation; none where sizes do not matter."""
        return [key[-1][2:] for key in self._prepared if key[-1]]

    def peak_memory(self, counted: float, shapes: int = 1) -> float:
        """Bytes that a pass allocates, with what is prepared for it.

        Args:
            counted: bytes of activations as :meth:`bundle.inference.tile_cost.TileCost.memory` counts them.
            shapes: of the tiles that are kept: 2 where averaging turns tiles that are not square.
        """
        weights = float(sum(tensor.nbytes for tensor in self._tensors()))
        if not self._runtime.per_shape:
            shapes = int(folds(self.module))
        return self._runtime.headroom * counted + self._runtime.copies * weights * shapes

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        if tile.device.type == "meta":  # nothing to compute: TileCost counts what the module would
            counted: torch.Tensor = self.module(tile)
            return counted
        if self.module.training:
            raise ValueError(f"backend {self.backend!r} needs a network in evaluation mode: call network.eval()")
        precision = self._precision(tile)
        # a plain tensor, whatever the caller's: what was prepared for another kind would be compiled again
        with torch.inference_mode(False), torch.no_grad():
            tile = tile.as_subclass(torch.Tensor).detach().contiguous()
            tile = tile.clone() if tile.is_inference() else tile
            return self._checked(tile, precision) if self._check else self._predict(tile, precision)(tile)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is prepared: another process prepares it by itself."""
        return {**self.__dict__, "_converted": [], "_prepared": {}, "_seen": []}

    def _precision(self, tile: torch.Tensor) -> str:
        kind, runtime = tile.device.type, self._runtime
        if runtime.cpu_only and (kind != "cpu" or tile.dtype != torch.float32):
            raise ValueError(
                f"backend {self.backend!r} computes fp32 on the CPU (--device cpu), got {tile.dtype} on {tile.device}; "
                f"others are for 'eager' and 'compile'"
            )
        precision = "fp32" if self.int8 is None else "int8"
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            precision = "bf16" if dtype == torch.bfloat16 else str(dtype)
        if precision not in self.precisions:
            others = [name for name, other in BACKENDS.items() if precision in other.precisions]
            hint = f"; backends {', '.join(others)} compute {precision}" if others else ""
            raise ValueError(
                f"backend {self.backend!r} does not compute in precision {precision}: allowed are auto, "
                f"{', '.join(self.precisions)}{hint}"
            )
        return precision

    def _predict(self, tile: torch.Tensor, precision: str) -> Predict:
        if self._weights_changed():
            self._prepared.clear()
            self._converted = []
        shape = tuple(tile.shape) if self._runtime.per_shape else ()
        key = (precision, tile.device, tile.dtype, shape)
        if key not in self._prepared:
            kept = [k for k in self._prepared if k[:-1] == key[:-1] and sorted(k[-1]) == sorted(shape)]
            self._prepared = {k: self._prepared[k] for k in kept}
            start = time.perf_counter()
            if not self._converted:
                self._converted = [self._convert(tile)]
            self._prepared[key] = self._runtime.prepare(self._converted[0], tile, precision)
            if self._runtime.per_shape:
                seconds = time.perf_counter() - start
                logger.info("%s prepared tiles of %s in %s: %.1f s", self.backend, shape[2:], precision, seconds)
        return self._prepared[key]

    def _checked(self, tile: torch.Tensor, precision: str) -> torch.Tensor:
        self._check = False
        expected: torch.Tensor = fold(self.module)(tile)
        try:
            found = self._predict(tile, precision)(tile)
            difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
            if difference <= _AS_GOOD[precision]:
                return found
            why = f"its first tile differs from that of PyTorch by {difference:.2g} of the largest logit"
        except Exception as error:  # whatever another library has against this network
            why = f"{type(error).__name__}: {error}".splitlines()[0]
        logger.warning("backend %s is not used, PyTorch computes instead (%s)", self.backend, why)
        self.backend, self._runtime = "eager", BACKENDS["eager"]
        self._converted, self._prepared = [], {}
        return expected

    def _convert(self, tile: torch.Tensor) -> Any:
        if self.int8 is None:
            return self._runtime.convert(self.module, tile)
        self.int8.require_of(self.module.state_dict())
        return graph_of_int8(self.int8.graph, self.int8.constants)

    def _weights_changed(self) -> bool:
        tensors = self._tensors()
        if len(tensors) == len(self._seen) and all(
            tensor.data_ptr() == alias.data_ptr() and _version(tensor) == version
            for tensor, (alias, version) in zip(tensors, self._seen, strict=True)
        ):
            return False
        # the alias keeps the memory from being given to another tensor, so that the address stays a proof
        self._seen = [(tensor.detach(), _version(tensor)) for tensor in tensors]
        return True

    def _tensors(self) -> list[torch.Tensor]:
        return list(chain(self.module.parameters(), self.module.buffers()))


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version  # made in inference mode: torch counts nothing


def _require_int8(backend: str) -> None:
    if backend != "openvino":
        raise ValueError(f"precision int8 is computed by backend 'openvino' alone, got {backend!r}")
    able = torch.cpu.get_capabilities()
    if able.get("architecture") == "x86_64" and not any(able.get(name) for name in _INT8):
        raise RuntimeError(
            f"precision int8 needs a processor with VNNI instructions ({', '.join(_INT8)}), which this one, "
            f"{able.get('cpu_name', 'unknown')}, has not: leave --precision auto"
        )


def _require_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise RuntimeError(
            "backend 'compile' needs a C++ compiler, and none was found: install g++ (or clang++), or name one in the "
            "environment variable CXX"
        ) from error
