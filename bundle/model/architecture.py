"""Networks by name and arguments: as a config has them, as a card has them, and as a U-Net's tensors tell."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pydoc import locate
from typing import Any

import torch
from monai.bundle import ConfigComponent, ConfigParser
from torch import nn

from bundle import networks
from bundle.console import did_you_mean
from bundle.geometry import Geometry, ValidGeometry
from bundle.networks.sized import SizedNetwork

logger = logging.getLogger(__name__)

PACKAGE = "bundle.networks."

#: px of output along each axis below which a tile is said to be small
_LEAST_OUTPUT = 64


def network_entry(parser: ConfigParser | None) -> dict[str, Any] | None:
    """The network's entry in a config with its references resolved: ``{"_target_": name, argument: value}``.

    Returns:
        plain JSON values; None without a config, or where the entry is no ``_target_`` with such arguments.
    """
    if parser is None or not ConfigComponent.is_instantiable(parser.get("network_def")):
        return None
    parser.get_parsed_content("network_def")
    item: Any = parser.ref_resolver.get_item("network_def")  # whose references that has resolved
    try:
        plain: dict[str, Any] = json.loads(json.dumps({"_target_": item.resolve_module_name(), **item.resolve_args()}))
        return plain
    except TypeError as error:
        logger.warning("network_def has an argument that is no plain value (%s): its checkpoint cannot name it", error)
        return None


def require_known_network(parser: ConfigParser | None) -> None:
    """Check that a config's network is one: of this bundle, of MONAI, or of whatever can be imported.

    Args:
        parser: the config; without one there is nothing to check.

    Raises:
        ValueError: naming the nearest and all that are allowed.
    """
    config = parser.get("network_def") if parser is not None else None
    target = config.get("_target_") if isinstance(config, Mapping) else None
    if not isinstance(target, str):
        return
    path = str(ConfigComponent(config=config, id="network_def").resolve_module_name())
    if path.startswith(PACKAGE) or locate(path) is None:
        _network_class(target, "network_def")


def require_fitting_tile(parser: ConfigParser | None) -> None:
    """Check that a U-Net with valid convolutions can take its tiles, before it takes memory or the data time.

    Args:
        parser: the config; without one there is nothing to check. It is left as it is.

    Raises:
        ValueError: naming the nearest sizes that the network can take.
    """
    if parser is None:
        return
    probe = ConfigParser(copy.deepcopy(parser.get()))
    arguments = probe["network_def"] if isinstance(probe["network_def"], dict) else {}
    if "in_channels" in arguments:
        arguments["in_channels"] = 1  # the images tell it; sizes do not depend on it
    for name in arguments:
        if not name.startswith("_"):
            probe.get_parsed_content(f"network_def#{name}")  # a plan, for example, reads images: not below
    with torch.device("meta"):  # sizes without content
        network = probe.get_parsed_content("network_def")
    if not isinstance(network, SizedNetwork):
        return
    axes = network.geometry.axes(network.spatial_dims)
    if all(isinstance(axis, ValidGeometry) for axis in axes):  # with others, tile_size is not what goes in
        tile = probe.get_parsed_content("tile_size")
        sides = tile if isinstance(tile, (list, tuple)) else (tile,) * (len(axes) if len({*axes}) > 1 else 1)
        if all(isinstance(side, int) for side in sides):  # who cuts the tiles says what else is wrong
            network.geometry.require_valid(*sides, name="tile_size")
            _warn_of_small_output(network.geometry, sides)


def _warn_of_small_output(geometry: Geometry, sides: Sequence[int]) -> None:
    """A tile that is nearly all margin trains, but on next to nothing."""
    out = min(geometry.output_sizes(sides))
    if out < min(_LEAST_OUTPUT, min(sides) / 4):
        better = max(geometry.input_sizes([_LEAST_OUTPUT] * len(sides)))
        logger.warning(
            "tile_size %s leaves %d px of output, the rest is margin: a step learns little; %d leaves %d",
            *(" x ".join(map(str, sides)), out, better, max(geometry.output_sizes([better] * len(sides)))),
        )


def require_fitting(target: str, arguments: Mapping[str, Any], source: str) -> type[nn.Module]:
    """The network of :mod:`bundle.networks` with this name, which must take these arguments.

    Raises:
        ValueError: naming ``source``, for another name or an argument that the network does not take.
    """
    network = _network_class(target, source)
    try:
        inspect.signature(network).bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"network {target} in {source}: {error}; allowed are {', '.join(inspect.signature(network).parameters)}"
        ) from None
    return network


def build(target: str, arguments: Mapping[str, Any], source: str) -> nn.Module:
    """A network of :mod:`bundle.networks` by its name, and nothing else.

    Raises:
        ValueError: as :func:`require_fitting`.
    """
    return require_fitting(target, arguments, source)(**arguments)


def _network_class(target: str, source: str) -> type[nn.Module]:
    exported = [known for known in networks.__all__ if isinstance(getattr(networks, known), type)]
    name = target.rpartition(".")[2]
    if target.startswith(PACKAGE) and name in exported:
        exact: type[nn.Module] = getattr(networks, name)
        return exact
    raise ValueError(f"network {target!r} in {source} is none of this bundle: {did_you_mean(name, exported, PACKAGE)}")


def unet_arguments(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The arguments of the :class:`bundle.networks.UNet` with these tensors; empty when they are not a U-Net's."""
    levels = {int(match[1]) for name in weights if (match := re.match(r"down\.(\d+)\.0\.weight$", name))}
    depth = max(levels, default=0)
    up_relu = "up.0.0.weight" in weights
    top = f"up.{depth - 1}.0.weight" if up_relu else f"up.{depth - 1}.weight"
    if levels != {*range(depth + 1)} or not {"classify.weight", top} <= weights.keys():
        return {}
    first, last, last_up = weights["down.0.0.weight"], weights["classify.weight"], weights[top]
    # plain numbers: a tensor has none where networks are built on the device "meta"
    kernels = [weights[f"down.{level}.0.weight"].shape[2:] for level in range(depth + 1)]
    flat_levels = [sum(side == 1 for side in axis) for axis in zip(*kernels, strict=True)]
    return {
        "spatial_dims": first.dim() - 2,
        "in_channels": first.shape[1],
        "out_channels": last.shape[0],
        "base_channels": first.shape[0],
        "depth": depth,
        "norm": "batch" if any(name.endswith("running_mean") for name in weights) else None,
        "up_relu": up_relu,
        "wide_last_up": last_up.shape[1] == last_up.shape[0],
        "padding": "same" if "same_padding" in weights else "valid",
        **({"flat_levels": flat_levels} if any(flat_levels) else {}),
        **({"deep_supervision": True} if any(map(_of_training, weights)) else {}),
    }


def with_training_classifiers(weights: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights with as many classifiers of ``deep_supervision`` as a network has: its own where they have none.

    So a network begins with the weights of one that was trained without them, or with them where it has none.
    """
    others = {name: tensor for name, tensor in weights.items() if not _of_training(name)}
    own = {name: weights.get(name, tensor) for name, tensor in network.state_dict().items() if _of_training(name)}
    return others | own


def _of_training(name: str) -> bool:
    return name.startswith("classify_coarser.")
