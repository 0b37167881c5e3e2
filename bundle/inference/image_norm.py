"""Normalisation of a network by the image that it segments: the same for all tiles, so that there are no seams.

A training of one tile a step normalises each tile by its own mean and variance. Running statistics at inference are
another function than the one that was trained; statistics of each tile would show seams. Here they are measured once
for an image, in windows of it that depend on its size alone, and then stand still: any tiling gives what one pass over
the whole image gives with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bundle.geometry import Geometry

__all__ = ["computed", "kept_statistics", "norm_by_image", "set_statistics", "windows_of"]

#: px (voxels) of a window's output along an axis, and windows along an axis, at most
_SIDE = {1: 5000, 2: 388, 3: 84}
_WINDOWS = 3

Spans = tuple[tuple[int, int], ...]


def norm_by_image(network: Any) -> bool:
    """Whether a network, or the one that a backend computes, is normalised by the image."""
    return bool(getattr(computed(network), "norm_by_image", False))


def windows_of(size: Sequence[int], geometry: Geometry) -> list[Spans]:
    """What is measured of an image: (start, stop) along each axis, which may lie beyond it.

    The whole image where it is small, else windows spread evenly over it. A padded network measures the whole.

    Args:
        size: of the image, px.
        geometry: of the network.
    """
    along = []
    for axis, n in zip(geometry.axes(len(size)), size, strict=True):
        side = min(n, _SIDE[len(size)]) if geometry.seamless else n
        count = min(_WINDOWS, -(-n // side))
        first = [round(place * (n - side) / max(1, count - 1)) for place in range(count)]
        tile = axis.input_size(side)
        along.append([(start - axis.margin, start - axis.margin + tile) for start in first])
    return list(product(*along))


def set_statistics(network: nn.Module, windows: Iterable[torch.Tensor], run: Callable[[torch.Tensor], Any]) -> None:
    """Give each batch normalisation the mean and variance of what it sees in these windows, for good.

    They are those of all windows together, where the layers before it normalised each window by itself.

    Args:
        network: in evaluation mode; its running statistics are lost.
        windows: BCHW[D] tiles, one at least.
        run: computes the network for a tile.
    """
    layers = _layers(network)
    sums = [[torch.zeros_like(layer.running_mean, dtype=torch.float64) for _ in range(2)] for layer in layers]
    count = 0

    def measured(number: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(layer: Any, given: tuple[torch.Tensor, ...]) -> None:
            x = given[0] if given[0].dtype == torch.float64 else given[0].float()
            var, mean = torch.var_mean(x, dim=[0, *range(2, x.dim())], correction=0)
            sums[number][0] += mean
            sums[number][1] += var.double() + mean.double() ** 2
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(var)

        return hook

    hooks = [layer.register_forward_pre_hook(measured(number)) for number, layer in enumerate(layers)]
    try:
        with torch.no_grad():
            for window in windows:
                run(window)
                count += 1
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        for layer, (total, squares) in zip(layers, sums, strict=True):
            mean = total / count
            layer.running_mean.copy_(mean)
            layer.running_var.copy_((squares / count - mean**2).clamp(min=0))


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Afterwards each batch normalisation has the running statistics that it had before."""
    layers = _layers(network)
    kept = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in layers]
    try:
        yield
    finally:
        with torch.no_grad():
            for layer, (mean, var) in zip(layers, kept, strict=True):
                layer.running_mean.copy_(mean)
                layer.running_var.copy_(var)


def computed(network: Any) -> Any:
    """The network itself, of one that a backend computes."""
    return getattr(network, "module", network)


def _layers(network: nn.Module) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
