"""What a card may hold. A card comes with a network from anybody: it is data, and nothing of it may run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.console import did_you_mean
from bundle.data.classes import classes_of_data
from bundle.model.image_entry import require_image
from bundle.model.plain_values import require_values

#: entry -> its types; "config" and "provenance" are records for people, of which nothing is used as it stands
_ENTRIES: Mapping[str, tuple[type, ...]] = {
    "sha256": (str,),
    "checksum": (str,),
    "run": (str,),
    "mlflow_run_id": (str, type(None)),
    "network": (dict, type(None)),
    "image": (dict,),
    "cells": (dict,),
    "cells_of": (dict,),
    "cells_chosen": (dict,),
    "classes": (list,),
    "truth": (str,),
    "split": (dict,),
    "data": (dict,),
    "result": (dict,),
    "int8": (dict,),
    "provenance": (dict,),
    "config": (dict, type(None)),
}
#: entries of "data": image -> digest of its pixels
_IMAGES = ("trained_on", "validated_on")


def require_card(card: Any, path: Path) -> dict[str, Any]:
    """The content of a card, after checking names, types and values.

    Args:
        card: as read from JSON.
        path: of the file, for messages.

    Raises:
        ValueError: naming the file and the entry: for an unknown name, another type, and what a config would run
            (expressions, components) in "network", "cells...", and "split"; for names of classes that are none.
    """
    if not isinstance(card, dict):
        raise ValueError(f"{path} holds a {type(card).__name__} instead of names and values: remove it")
    for name, value in card.items():
        if name not in _ENTRIES:
            raise ValueError(f"{path} has an unknown entry {name!r}: {did_you_mean(name, _ENTRIES)}")
        if not isinstance(value, _ENTRIES[name]):
            allowed = " or ".join("null" if kind is type(None) else kind.__name__ for kind in _ENTRIES[name])
            raise ValueError(f'"{name}" in {path} must be of type {allowed}, got {value!r}')
    network = card.get("network")
    if network is not None:
        if not isinstance(network.get("_target_"), str):
            raise ValueError(f'"network" in {path} must be an object with a "_target_", got {network!r}')
        require_values({k: v for k, v in network.items() if k != "_target_"}, f'"network" in {path}')
    for name in ("cells", "cells_of", "cells_chosen", "split"):
        require_values(card.get(name, {}), f'"{name}" in {path}')
    if "classes" in card:
        try:
            classes_of_data(None, card.get("truth", "classes"), card["classes"])
        except ValueError as error:
            raise ValueError(f'"classes" or "truth" in {path}: {error}') from None
    require_image(card, path)
    _require_images(card.get("data", {}), path)
    return card


def _require_images(data: Mapping[str, Any], path: Path) -> None:
    for name in _IMAGES:
        images = data.get(name, {})
        if not isinstance(images, dict) or not all(isinstance(digest, str) for digest in images.values()):
            raise ValueError(f'"{name}" in {path} must give a digest for the name of each image, got {images!r:.80}')
