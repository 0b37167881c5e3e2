"""What one forward pass over a tile costs: floating point operations and peak memory, without computing it.

The network runs on torch's "meta" device, where tensors have sizes but no content: a pass takes milliseconds
whatever the size of the tile, and counts exactly what the real one would allocate.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from bundle.geometry import Geometry

#: memory of an input pixel where it cannot be counted: that of the paper's network in fp32, safe for smaller ones
_BYTES_PER_PIXEL = 1500.0
_UNITS = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


class TileCost:
    """FLOPs and peak memory of a network as functions of the tile's input size.

    Args:
        network: a network whose level sizes are affine in its input's, as those of every U-Net are. One that
            cannot run on the meta device (a TorchScript or ONNX model, any callable) is taken to cost in
            proportion to its input pixels.
        geometry: its geometry.
        channels: channels of the input.
        axes: number of spatial axes.
        dtype: of the activations (bf16 under autocast).
        training: count what a training step allocates: activations are kept for the gradients, which come on top.
    """

    def __init__(
        self,
        network: Callable[..., Any],
        geometry: Geometry,
        channels: int,
        axes: int,
        dtype: torch.dtype = torch.float32,
        training: bool = False,
    ) -> None:
        self.geometry = geometry
        self.axes = axes
        self._pass = _meta_pass(network, channels, dtype, training)
        self._count = lru_cache(maxsize=None)(self._measure)

    def flops(self, tile_size: Sequence[int]) -> float:
        """Floating point operations of one pass: interpolated, exactly, since every level is affine in the tile."""
        return float(self.flops_of([[n] for n in tile_size]).item())

    def memory(self, tile_size: Sequence[int]) -> float:
        """Peak bytes that one pass allocates for activations, its input included; weights not."""
        return self._count(tuple(tile_size))[1]

    def estimated_memory(self, tile_size: Sequence[int]) -> float:
        """A quick estimate of :meth:`memory`, to sort out what is far too large."""
        return float(self.estimated_memory_of([[n] for n in tile_size]).item())

    def flops_of(self, sizes: Sequence[Sequence[int]]) -> np.ndarray:
        """:meth:`flops` of all tiles whose size along axis i is one of ``sizes[i]``: an array with as many axes."""
        return self._interpolate(sizes, index=0)

    def estimated_memory_of(self, sizes: Sequence[Sequence[int]]) -> np.ndarray:
        """:meth:`estimated_memory` of all these tiles."""
        return self._interpolate(sizes, index=1)

    @cached_property
    def _probes(self) -> list[tuple[int, int]]:
        axes = self.geometry.axes(self.axes)
        return [(axis.smallest_input + 2 * axis.step, axis.smallest_input + 18 * axis.step) for axis in axes]

    @property
    def out_channels(self) -> int:
        """Channels of the network's output; 2 where the network cannot be asked."""
        return int(self._count(tuple(small for small, _ in self._probes))[2])

    def _interpolate(self, sizes: Sequence[Sequence[int]], index: int) -> np.ndarray:
        alike = len({*self._probes}) == 1
        total = np.zeros([len(along) for along in sizes])
        for corner in product((0, 1), repeat=self.axes):
            weight = np.ones(())
            for along, (small, large), high in zip(sizes, self._probes, corner, strict=True):
                at = (np.asarray(along) - small) / (large - small)
                weight = weight[..., None] * (at if high else 1 - at)
            size = tuple(probes[high] for probes, high in zip(self._probes, corner, strict=True))
            total += weight * self._count(tuple(sorted(size)) if alike else size)[index]
        return total

    def _measure(self, tile_size: tuple[int, ...]) -> tuple[float, float, int]:
        if self._pass is None:
            pixels = float(torch.Size(tile_size).numel())
            return pixels, pixels * _BYTES_PER_PIXEL, 2
        with _Meter() as meter:
            channels = self._pass(tile_size).shape[1]
        return float(meter.flops), float(meter.peak), channels


def _meta_pass(
    network: Callable[..., Any], channels: int, dtype: torch.dtype, training: bool
) -> Callable[[tuple[int, ...]], Any] | None:
    """A function that runs the network on the meta device for a tile size, or None where that is impossible.

    In training it goes back through it, too.
    """
    if not isinstance(network, nn.Module) or isinstance(network, torch.jit.ScriptModule):
        return None
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    with torch.inference_mode(False):
        ghosts = {
            name: torch.empty_like(t, device="meta", dtype=dtype if t.is_floating_point() else t.dtype)
            for name, t in tensors.items()
        }
    for name, _ in network.named_parameters():
        ghosts[name].requires_grad_(training)

    def forward(tile_size: tuple[int, ...]) -> Any:
        # in inference mode, operations that consist of others would arrive whole and uncounted
        with torch.inference_mode(False), torch.set_grad_enabled(training):
            tile = torch.empty((1, channels, *tile_size), device="meta", dtype=dtype)
            logits = torch.func.functional_call(network, ghosts, (tile,))
            if training:
                torch.autograd.grad(logits.sum(), [ghost for ghost in ghosts.values() if ghost.requires_grad])
            return logits

    return forward


class _Meter(TorchDispatchMode):
    """FLOPs of the operations run inside, and bytes of all tensors alive at once, at their highest.

    torch's ``FlopCounterMode`` counts the same, but imports torch's compiler, which takes longer than a small image.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.now = self.peak = 0
        self._seen: dict[int, weakref.finalize[..., torch.UntypedStorage]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: this is what keeps torch from importing its compiler."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = _SHAPES.get(func, func)(*args, **kwargs)
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **kwargs, out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._track(tensor.untyped_storage())
        return out

    def _track(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()
        self._seen[key] = weakref.finalize(storage, self._free, key, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _free(self, key: int, size: int) -> None:
        self._seen.pop(key, None)
        self.now -= size


def _joined(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    size = list(tensors[0].shape)
    size[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return tensors[0].new_empty(size)


def _normalised(x: torch.Tensor, *others: Any) -> tuple[torch.Tensor, ...]:
    return torch.empty_like(x), x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


# what torch knows on the meta device in Python only, for which it imports its compiler
_SHAPES = {torch.ops.aten.cat.default: _joined, torch.ops.aten.native_batch_norm.default: _normalised}


def free_memory(device: torch.device | str) -> float:
    """Bytes that are free on a device now; of a GPU also what torch has kept of tensors that are gone."""
    if torch.device(device).type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + kept)
    free = float(psutil.virtual_memory().available)
    limit, used = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    try:  # a container or a batch system may allow less than the machine has
        taken = float(used.read_text()) - _reclaimable(used.with_name("memory.stat"))
        return min(free, max(float(limit.read_text()) - taken, 0.0))
    except (OSError, ValueError):  # no such limit, or "max"
        return free


def _reclaimable(statistics: Path) -> float:
    """Bytes of files read before, which count as used until somebody needs the memory."""
    if not statistics.is_file():
        return 0.0
    rows = dict(line.split() for line in statistics.read_text().splitlines())
    return float(rows.get("inactive_file", 0))


def parse_bytes(value: float | str, name: str = "max_memory") -> float:
    """Bytes from a number or from text such as "1.5 GiB".

    Raises:
        ValueError: for what is neither, or not above 0.
    """
    amount = 0.0
    try:
        if isinstance(value, str):
            number = value.rstrip("BKMGibkmg ")
            amount = float(number) * _UNITS[value[len(number) :].strip().upper() or "B"]
        else:
            amount = float(value)
    except (ValueError, KeyError):
        raise ValueError(
            f"{name} must be a number of bytes or a text like '1.5 GiB' ({', '.join(_UNITS)}), got {value!r}"
        ) from None
    if not amount > 0:
        raise ValueError(f"{name} must be above 0 bytes, got {value!r}")
    return amount
