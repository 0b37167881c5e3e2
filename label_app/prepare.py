"""The folder that MONAI Label starts from: ``python -m label_app.prepare --app DIR``.

An app's folder holds ``main.py`` and, under ``model/NAME``, a bundle. Code is linked, so that it stays one; configs are
copied and adapted; the model is copied, since training writes it.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from bundle.atomic import write_json
from bundle.data.classes import Classes, classes_of_data
from bundle.model import TrainedNetwork, checkpoints
from bundle.model.architecture import build
from bundle.model.card import robust_gray, write_card
from bundle.model.checkpoints import default_model
from label_app.torch_build import require_torchvision

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parent.parent
_COPIED = ("metadata.json", "inference.json", "logging.conf", "multi_gpu_train.json")
#: MONAI Label takes the type of task from the name of the folder
_TYPES = ("deepedit", "deepgrow", "detection", "classification")


def prepare(
    app: str | os.PathLike[str],
    name: str = "cells",
    model: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    main: str | os.PathLike[str] | None = None,
    trust_weights: bool | str = False,
) -> Path:
    """Make or renew the folder of an app. A model that is there stays, and so do its runs.

    Args:
        app: folder of the app; made if absent.
        name: of the bundle in it, and of the model in MONAI Label.
        model: network to begin with; None takes this bundle's ``models/model.pt``, else the shipped one.
        options: entries of ``train.json``, by name. With ``class_names`` a new app begins with random weights, unless
            the network knows these very classes.
        main: the app's ``main.py``; None takes ours.
        trust_weights: begin with a network whose card describes another file, without the card.

    Returns:
        the folder of the bundle.

    Raises:
        ValueError: for a name that MONAI Label would misunderstand, an option that ``train.json`` does not have, or a
            model that is no U-Net.
        FileNotFoundError: when there is no such model.
    """
    if not name.replace("-", "").replace("_", "").isalnum() or any(word in name.lower() for word in _TYPES):
        raise ValueError(f"name must be letters, digits, - and _ without {', '.join(_TYPES)}, got {name!r}")
    folder = Path(app) / "model" / name
    own = folder / "models" / "model.pt"
    first = own if own.is_file() else default_model(_ROOT / "models") if model is None else model
    begin = TrainedNetwork(first, trust_weights)
    config = json.loads((_ROOT / "configs" / "train.json").read_text(encoding="utf-8"))
    adapted(config, begin, name, options)  # a model or an option that is refused is so before anything is written
    named = (options or {}).get("class_names")
    if named is not None and begin.path != own:
        begin = _of_classes(own, begin, classes_of_data(None, (options or {}).get("truth", "classes"), named))
    config = adapted(config, begin, name, options)
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    if begin.path != own:
        begin.copy_to(own)
        logger.info("starting with a copy of %s: %s", begin, begin.origin())
    elif first == own:  # else it was made a moment ago
        if model is not None:
            logger.warning("%s is not used", model)
        logger.info(
            "continuing with the network of an earlier start, %s: %s; delete %s to start from scratch",
            own,
            begin.origin(),
            app,
        )
        if begin.trust_weights:
            begin.copy_to(own)  # the server asks nobody: what it reads has a card of its own, or none
    write_json(folder / "configs" / "train.json", config)
    for file in _COPIED:
        shutil.copyfile(_ROOT / "configs" / file, folder / "configs" / file)
    _name_classes(folder / "configs" / "metadata.json", TrainedNetwork(own).classes)
    for package in ("bundle", "transforms"):
        _link(_ROOT / package, folder / package)
    source, target = Path(main or _ROOT / "label_app" / "main.py"), Path(app) / "main.py"
    if not (target.exists() and source.samefile(target)):
        shutil.copyfile(source, target)
    return folder


def adapted(
    config: Mapping[str, Any],
    model: TrainedNetwork,
    experiment_name: str,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``train.json`` for MONAI Label: it goes on with the network of ``model``, on what has been annotated.

    MONAI Label loads the weights of ``model`` and feeds the datalists itself, so there is no data set to look for.

    Raises:
        ValueError: as :func:`prepare`.
    """
    target, arguments, source = model.definition()
    parser = ConfigParser(copy.deepcopy(dict(config)))
    if target != parser["network_def#_target_"]:
        raise ValueError(
            f"{source} is a {target}; MONAI Label trains with configs/train.json, whose network is a U-Net: name one "
            "by --model"
        )
    for key, value in arguments.items():
        parser[key if key in parser else f"network_def#{key}"] = value
    parser["labelled"] = "$@train#dataset#data + @validate#dataset#data"
    parser["validate#items"] = []
    parser["pretrained"] = "@model_file"  # what it has seen stays in the record
    parser["publish"] = "always"  # MONAI Label looks for what it has trained in that file alone
    parser["experiment_name"] = experiment_name
    parser["cells"].update(model.cell_options().told)  # a choice could change between two inferences
    parser["cells_of"] = model.cells_of
    parser["classes#root"] = None
    if not model.classes.binary:
        parser["class_names"], parser["truth"] = list(model.classes.names), model.classes.kind
    parser["channels"] = None  # those of the network
    parser["context_slices"] = model.context_slices
    parser["image"] = "$@pretrained_network.channels(@channels).or_luminance()"  # as inference
    parser["standardize"]["robust"] = robust_gray(model.card)
    for key, value in (options or {}).items():
        if key not in parser:
            raise ValueError(f"option {key!r} is no entry of train.json")
        parser[key] = value
    return dict(parser[""])


def _of_classes(own: Path, like: TrainedNetwork, classes: Classes) -> TrainedNetwork:
    """A network that knows these classes: ``like`` itself, or one of its kind with random weights."""
    if like.classes.names == classes.names and like.classes.kind == classes.kind:
        return like
    target, arguments, source = like.definition()
    arguments = {**arguments, "out_channels": len(classes)}
    own.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.write(own, build(target, arguments, source).state_dict())
    card = {"network": {"_target_": target, **arguments}, "classes": list(classes.names), "truth": classes.kind}
    write_card(own.with_suffix(".json"), {**card, "cells": like.cell_options().told}, of=own)
    logger.info("starting with random weights: %s does not know the classes %s", like, ", ".join(classes.names))
    return TrainedNetwork(own)


def _name_classes(metadata: Path, classes: Classes) -> None:
    """MONAI Label offers the channels that it finds there as segments, all but "background"."""
    content = json.loads(metadata.read_text(encoding="utf-8"))
    pred = content["network_data_format"]["outputs"]["pred"]
    pred["num_channels"] = len(classes)
    pred["channel_def"] = {"0": "background", **{str(k): name for k, name in enumerate(classes.names) if k}}
    write_json(metadata, content)


def _link(source: Path, target: Path) -> None:
    if target.is_symlink():
        target.unlink()
    if target.is_dir():
        shutil.rmtree(target)
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:  # Windows, without the right to make links
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m label_app.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("--app", required=True, help="folder of the app, made if absent")
    parser.add_argument("--name", default="cells", help="of the model in MONAI Label")
    parser.add_argument("--model", help="network to begin with, if the folder has none yet")
    parser.add_argument("--main", help="another app's main.py, such as that of the stock monaibundle")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an entry of train.json")
    parser.add_argument("--trust_weights", default="false", help="true: go on without a card that is of another file")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = {key: _value(text) for key, _, text in (option.partition("=") for option in given.option)}
    try:
        require_torchvision()
        print(prepare(given.app, given.name, given.model, options, given.main, given.trust_weights))
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    _main()
