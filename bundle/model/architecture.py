"""Which network a checkpoint belongs to: what the JSON beside it says, or what a U-Net's tensors tell."""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from pydoc import locate
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser
from torch import nn

from bundle import networks
from bundle.console import did_you_mean
from bundle.model import checkpoints
from bundle.model.card import card_file, read_card

__all__ = ["build_network", "network_entry", "network_of", "require_known_network"]

logger = logging.getLogger(__name__)

_PACKAGE = "bundle.networks."


def network_entry(parser: ConfigParser | None, entry: str = "network_def") -> dict[str, Any] | None:
    """A network's entry in a config with its references resolved: ``{"_target_": name, argument: value}``.

    Returns:
        plain JSON values; None without a config, or where the entry is no ``_target_`` with such arguments.
    """
    if parser is None or not ConfigComponent.is_instantiable(parser.get(entry)):
        return None
    parser.get_parsed_content(entry)
    item: Any = parser.ref_resolver.get_item(entry)  # whose references that has resolved
    try:
        plain: dict[str, Any] = json.loads(json.dumps({"_target_": item.resolve_module_name(), **item.resolve_args()}))
        return plain
    except TypeError as error:
        logger.warning("%s has an argument that is no plain value (%s): its checkpoint cannot name it", entry, error)
        return None


def build_network(
    checkpoint: str | os.PathLike[str], defaults: Mapping[str, Any] | None = None, dropout: float | None = None
) -> nn.Module:
    """The network that a checkpoint belongs to, with new weights.

    The JSON beside a checkpoint names its network and the arguments (:class:`bundle.training.DescribeRun`). Where there
    is none, or one of an earlier version, the checkpoint must be a U-Net's, whose tensors tell them. Only what
    :mod:`bundle.networks` exports is ever built: the file cannot make anything else run.

    Args:
        checkpoint: a model file or a training checkpoint.
        defaults: arguments of the :class:`bundle.networks.UNet` that is made where there is no such file yet; None
            makes that an error.
        dropout: its probability, for passes that are to differ (MONAI Label sets it); None leaves the network's own.

    Raises:
        FileNotFoundError, ValueError: as :func:`bundle.model.checkpoints.read`.
        ValueError: for a network that is not known (naming the nearest), arguments that it does not take, and a
            checkpoint that is not a U-Net's with nothing beside it.
    """
    target, arguments, source = network_of(checkpoint, defaults)
    return _make(target, arguments if dropout is None else {**arguments, "dropout": dropout}, source)


def network_of(
    checkpoint: str | os.PathLike[str], defaults: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any], str]:
    """Name and arguments of the network that a checkpoint belongs to, and the file that told; see `build_network`."""
    described, source = read_card(checkpoint).get("network"), card_file(checkpoint)
    if described is not None:
        if not isinstance(described, Mapping) or not isinstance(described.get("_target_"), str):
            raise ValueError(f'"network" in {source} must be an object with a "_target_", got {described!r}')
        arguments = {name: value for name, value in described.items() if name != "_target_"}
        return described["_target_"], arguments, str(source)
    if defaults is not None and not Path(checkpoint).is_file():
        return f"{_PACKAGE}UNet", dict(defaults), "the defaults"
    weights = checkpoints.network_weights(checkpoints.read(checkpoint))
    found = checkpoints.unet_arguments(weights, defaults={})
    if not found:
        raise ValueError(
            f"checkpoint {checkpoint} is not a U-Net's (its tensors begin with {', '.join(list(weights)[:3])}), and "
            f"nothing beside it says what it is: put the JSON that its training wrote there, as {source}"
        )
    return f"{_PACKAGE}UNet", found, str(checkpoint)


def require_known_network(parser: ConfigParser | None, entry: str = "network_def") -> None:
    """Check that a config's network is one: of this bundle, of MONAI, or of whatever can be imported.

    Args:
        parser: the config; without one there is nothing to check.
        entry: of the network.

    Raises:
        ValueError: naming the nearest and all that are allowed.
    """
    config = parser.get(entry) if parser is not None else None
    target = config.get("_target_") if isinstance(config, Mapping) else None
    if not isinstance(target, str):
        return
    path = str(ConfigComponent(config=config, id=entry).resolve_module_name())
    if path.startswith(_PACKAGE) or locate(path) is None:
        _network_class(target, entry)


def _make(target: str, arguments: dict[str, Any], source: str) -> nn.Module:
    network = _network_class(target, source)
    try:
        inspect.signature(network).bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"network {target} in {source}: {error}; allowed are {', '.join(inspect.signature(network).parameters)}"
        ) from None
    return network(**arguments)


def _network_class(target: str, source: str) -> type[nn.Module]:
    exported = [known for known in networks.__all__ if isinstance(getattr(networks, known), type)]
    name = target.rpartition(".")[2]
    if target.startswith(_PACKAGE) and name in exported:
        exact: type[nn.Module] = getattr(networks, name)
        return exact
    raise ValueError(f"network {target!r} in {source} is none of this bundle: {did_you_mean(name, exported, _PACKAGE)}")
