"""Which backend computes a network where nobody says it: a rule of sizes, without timing, so that results repeat."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence

import torch
from monai.networks import eval_mode
from torch import nn

from bundle.geometry import geometry_of
from bundle.inference.backends.network import BackendNetwork, prepare_network
from bundle.inference.backends.runtimes import BACKENDS
from bundle.inference.tile_cost import TileCost
from bundle.model.int8_file import Int8Network

logger = logging.getLogger(__name__)

#: operations after which OpenVINO has won back, on one core, the one or two seconds that a network takes to convert:
#: it saves a tenth (width 64) to a fifth (width 16) of eager torch's time
_WORTH = 3e12
#: operations after which it has won back a tile size more
_OF_A_SIZE = 3e11
#: px (voxels) along each axis of the tile that operations are counted with, at least
_TILE = {2: 500, 3: 80}


def choose_backend(
    backend: str,
    network: nn.Module,
    device: torch.device | str,
    sizes: Iterable[Sequence[int]],
    precision: str = "auto",
    begun: str | None = None,
) -> str:
    """The backend for some images; what "auto" stands for is told in one line of the log.

    "auto" is OpenVINO on a CPU where it is installed and the images are so many, or the network so wide, that its
    preparation is won back; else "eager". It depends on device, network, sizes of the images and what is installed, on
    nothing measured.

    Args:
        backend: one of :data:`bundle.inference.backends.BACKENDS`, which stays, or "auto".
        network: that will be computed.
        device: on which.
        sizes: spatial size of each image, px; slices of a stack are an axis.
        precision: that was asked for; only OpenVINO computes "int8".
        begun: the backend of an earlier run that this one goes on with; "auto" is this one where it can be.

    Raises:
        ValueError: for another backend.
    """
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend must be one of auto, {', '.join(BACKENDS)}, got {backend!r}")
    if backend != "auto":
        return backend
    if precision == "int8":
        return "openvino"
    if begun in BACKENDS and not BACKENDS[begun].missing():
        return _told(begun, "which this result was begun with")
    known = list(sizes)
    exportable = isinstance(network, nn.Module) and not isinstance(network, torch.jit.ScriptModule)
    if torch.device(device).type != "cpu" or not exportable or not known:
        return "eager"
    work = _operations_per_pixel(network) * sum(math.prod(size) for size in known)
    worth = _WORTH + _OF_A_SIZE * len({tuple(size) for size in known})
    told = f"{work / 1e12:.2g} TFLOP to compute, and OpenVINO, slow to start, is faster from {worth / 1e12:.2g} on"
    if work < worth:
        return _told("eager", told)
    if missing := BACKENDS["openvino"].missing():
        return _told("eager", f"{told}; for OpenVINO, pip install {' '.join(missing)}")
    return _told("openvino", told)


class Predictors:
    """A network in the backend of each job: images that are segmented together in memory are one, an image that goes
    block by block is one of its own, so that nothing in its result depends on its neighbours.

    Args:
        network: in fp32, on ``device``.
        backend, device, precision: see :func:`choose_backend`.
        int8: see :func:`prepare_network`.
    """

    def __init__(
        self,
        network: nn.Module,
        backend: str = "auto",
        device: torch.device | str = "cpu",
        precision: str = "auto",
        int8: Int8Network | None = None,
    ) -> None:
        self.network, self.backend, self.device, self.precision, self.int8 = network, backend, device, precision, int8
        self._prepared: dict[str, BackendNetwork] = {}

    def __call__(self, sizes: Iterable[Sequence[int]], begun: str | None = None) -> BackendNetwork:
        """
        Args:
            sizes: of the images of the job, px.
            begun: its backend, where it was begun by an earlier command.

        Returns:
            the network; jobs of one backend share what is prepared.

        Raises:
            ValueError, RuntimeError: as :func:`prepare_network`.
        """
        chosen = choose_backend(self.backend, self.network, self.device, sizes, self.precision, begun)
        if chosen not in self._prepared:
            self._prepared[chosen] = prepare_network(self.network, chosen, self.int8, check=self.backend == "auto")
        return self._prepared[chosen]


def _told(backend: str, why: str) -> str:
    logger.info("backend %s: %s", backend, why)
    return backend


def _operations_per_pixel(network: nn.Module) -> float:
    """Floating point operations for a pixel of the output, in a tile of medium size."""
    axes = int(getattr(network, "spatial_dims", 2))
    geometry = geometry_of(network)
    tile = [axis.input_size(_TILE[axes]) for axis in geometry.axes(axes)]
    channels = next((parameter.shape[1] for parameter in network.parameters() if parameter.dim() > 2), 1)
    with eval_mode(network):
        return TileCost(network, geometry, channels, axes).flops(tile) / math.prod(geometry.output_sizes(tile))
