"""The tile to train a network of volumes on: the most labelled voxels for the computing, within a bound of memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import reduce

import numpy as np
import torch

from bundle.data.formats import spatial_shape
from bundle.data.item import Item
from bundle.inference.cutting import said_of_thin
from bundle.inference.tile_cost import TileCost, parse_bytes
from bundle.networks.sized import SizedNetwork

logger = logging.getLogger(__name__)

#: counted activations -> what a training step really takes of them (scratch space of the convolutions)
_HEADROOM = 1.3


def plan_tile(network: SizedNetwork, volume_size: Sequence[int], max_memory: float | str) -> list[int]:
    """The input size of the training tile with the most labelled voxels for each floating point operation.

    Only the middle of a tile, what comes out, is labelled; its margin is computed for nothing. A larger tile wastes
    less, and takes more memory; none is larger than what a whole volume needs. Where a volume is thinner than the
    margin the log says so: what is beyond it is mirrored.

    Args:
        network: to train, as it is made: its sizes, the cost of a pass and the memory of a step are counted.
        volume_size: spatial size of the smallest volume, px.
        max_memory: bound on what a step may allocate beside weights and data, in bytes or as text ("1.5 GiB").

    Returns:
        px along each axis.

    Raises:
        MemoryError: when not even the smallest tile fits; the message says what it needs.
        ValueError: for a bound that is none.
    """
    bound = parse_bytes(max_memory, "tile_memory")
    axes = network.geometry.axes(len(volume_size))
    if thin := said_of_thin(tuple(volume_size), network.geometry.margins(len(volume_size))):
        logger.warning("in training, %s", thin)
    sizes = [
        list(range(axis.smallest_input, axis.input_size(n) + 1, axis.step))
        for axis, n in zip(axes, volume_size, strict=True)
    ]
    with torch.random.fork_rng(devices=[]):
        cost = TileCost(network, network.geometry, network.in_channels, len(axes), training=True)
        labelled = reduce(
            np.multiply.outer,
            ([axis.output_size(n) for n in along] for axis, along in zip(axes, sizes, strict=True)),
            np.ones(()),
        )
        gain, estimated = labelled / cost.flops_of(sizes), _HEADROOM * cost.estimated_memory_of(sizes)
        while (estimated <= bound).any():
            place = np.unravel_index(np.where(estimated <= bound, gain, 0).argmax(), gain.shape)
            tile = [along[i] for along, i in zip(sizes, place, strict=True)]
            counted = _HEADROOM * cost.memory(tile)
            if counted <= bound:
                return tile
            estimated *= 1.001 * counted / estimated[place]
        smallest = [along[0] for along in sizes]
        raise MemoryError(
            f"tile_memory {bound / 2**20:.0f} MiB is not enough to train: a step with the smallest tile, {smallest} "
            f"px, takes {_HEADROOM * cost.memory(smallest) / 2**20:.0f} MiB"
        )


def smallest_volume(items: Iterable[Item]) -> list[int]:
    """The smallest size along each axis of the volumes of a datalist, or ranges of them, px, from their headers.

    Raises:
        ImageError: for a file whose header cannot be read.
    """
    volumes = dict.fromkeys((item["image"], item.get("slices")) for item in items)
    shapes = [
        (*(*spatial_shape(path), 1)[:2], slices[1] - slices[0]) if slices else (*spatial_shape(path), 1)[:3]
        for path, slices in volumes
    ]
    return [min(along) for along in zip(*shapes, strict=True)]
