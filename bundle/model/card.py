"""What a network was made from: data, split, settings and results, in a JSON file beside the network's.

A state dict tells nothing of the images behind it. Whoever measures it must know which of them it has seen, and whoever
receives it, where it comes from.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle import atomic
from bundle.cells import CellOptions
from bundle.data.fingerprint import IMAGES_BY, image_fingerprints
from bundle.data.item import Item
from bundle.model.renamed import translated

__all__ = [
    "card_file",
    "cell_options",
    "evaluation_folder",
    "evaluation_name",
    "origin",
    "read_card",
    "require_unseen",
    "write_card",
]

logger = logging.getLogger(__name__)

#: the cells of train.json, where nothing is told
_UNTOLD = CellOptions(min_size=20, close_gaps=1.0)

#: options of the command line that decide which image is in which part
_SPLIT = ("held_out", "fold", "folds", "blocks", "validation", "split_seed")
#: in the folder of a run; the second is of earlier versions
_OF_RUN = ("card.json", "about.json")


def card_file(checkpoint: str | os.PathLike[str]) -> Path:
    """``models/model.json`` of ``models/model.pt``; ``card.json`` in the folder of a run, for all its checkpoints."""
    path = Path(checkpoint)
    of_run = [file for name in _OF_RUN if (file := path.parent / name).is_file()]
    return of_run[0] if of_run else path.with_suffix(".json")


def evaluation_folder(root: str, checkpoint: str | os.PathLike[str], part: str, tta: str = "none") -> str:
    """``root/NAME/part`` or ``root/NAME/part-tta``; NAME is that of the model's file.

    In the folder of a run it is the run's for ``best.pt``, and ``RUN-last`` for ``last.pt``.
    """
    return str(Path(root, _network_name(checkpoint), part if tta == "none" else f"{part}-{tta}"))


def evaluation_name(checkpoint: str | os.PathLike[str], part: str, tta: str = "none") -> str:
    """Name of an evaluation's run in MLflow: ``NAME-part-tta``, with the NAME of its folder."""
    return f"{_network_name(checkpoint)}-{part}-{tta}"


def _network_name(checkpoint: str | os.PathLike[str]) -> str:
    path = Path(checkpoint)
    name, run = path.stem, path.resolve().parent
    if card_file(path).name in _OF_RUN or name in ("best", "last"):
        return run.name if name == "best" else f"{run.name}-{name}"
    return name


def write_card(path: str | os.PathLike[str], card: Mapping[str, Any], of: str | os.PathLike[str] | None = None) -> None:
    """Write such a file, whole or not at all; ``of`` is the network's file whose content it vouches for."""
    if of is not None:
        card = {"sha256": atomic.sha256(of), **card}
    atomic.write_json(path, card)


def read_card(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """What is known of a checkpoint; empty when nothing lies beside it, or only what describes another content.

    Raises:
        ValueError: when the file beside it is damaged.
    """
    path = card_file(checkpoint)
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): remove it, or put the one of the checkpoint there") from error
    if not isinstance(card, dict):
        raise ValueError(f"{path} holds a {type(card).__name__} instead of names and values: remove it")
    if card.get("sha256", "") and Path(checkpoint).is_file() and atomic.sha256(checkpoint) != card["sha256"]:
        logger.warning("%s describes another file than %s that lies beside it, and is left out", path, checkpoint)
        return {}
    return card


def origin(checkpoint: str | os.PathLike[str]) -> str:
    """Where a network comes from, for a person: its experiment, and what it was trained on.

    Example:
        >>> origin("models/em_membranes.pt")
        'em-membranes, trained on 20 images: train-00, train-01, train-02, ...'
    """
    card = read_card(checkpoint)
    config, data = card.get("config", {}), card.get("data", {})
    names = list(data.get("trained_on", {}))
    if not names:
        return "of unknown training"
    experiment = (isinstance(config, dict) and config.get("experiment_name")) or "no experiment"
    shown = ", ".join([*names[:3], "..."] if len(names) > 3 else names)
    return f"{experiment}, trained on {len(names)} image{'s' if len(names) > 1 else ''}: {shown}"


def cell_options(checkpoint: str | os.PathLike[str], **changes: Any) -> CellOptions:
    """How cells are read off a network's probabilities: as its training's config had it.

    Args:
        checkpoint: of the network; what lies beside it tells (:func:`card_file`), else it is what train.json says.
        changes: single options, instead of what the training had.

    Raises:
        ValueError: for an option that is unknown or out of its range.
    """
    config = read_card(checkpoint).get("config", {})
    told = config.get("cells") if isinstance(config, dict) else None
    told = translated("cells", told) if isinstance(told, dict) else {}
    # an expression of the training's config has no meaning in another one
    plain = {
        name: told[name]
        for name in vars(_UNTOLD)
        if name in told and not (isinstance(told[name], str) and told[name].startswith(("$", "@", "%")))
    }
    return CellOptions.of(_UNTOLD, **plain | changes)


def require_unseen(items: Sequence[Item], part: str, checkpoint: str | os.PathLike[str]) -> list[Item]:
    """The items of an evaluation, once it is sure that they are what their part's name says.

    Images are told apart by their content: neither another folder nor another fold number hides that a network was
    trained on them.

    Args:
        items: datalist of the part.
        part: "held_out" must hold nothing that trained the network or chose its checkpoint, "validation" nothing
            that trained it. With any other part, what has been seen is said in the log.
        checkpoint: of the network; without a file beside it that tells (:func:`card_file`) nothing can be checked,
            which is said in the log, too.

    Returns:
        ``items``.

    Raises:
        ValueError: naming the images and the split that the training had.
    """
    card = read_card(checkpoint)
    data = card.get("data", {})
    if "trained_on" not in data or data.get("images_by") != IMAGES_BY:
        logger.warning(
            "nothing beside %s tells the %s of the images that trained it: part %s is on trust",
            checkpoint,
            IMAGES_BY,
            part,
        )
        return list(items)
    seen = dict.fromkeys(data["trained_on"].values(), "trained on")
    if part != "validation":
        seen |= dict.fromkeys(data.get("validated_on", {}).values(), "used to choose the checkpoint")
    found = [(name, seen[digest]) for name, digest in image_fingerprints(items).items() if digest in seen]
    if not found:
        return list(items)
    some = ", ".join(f"{name} ({how})" for name, how in found[:5])
    if part in ("held_out", "validation"):
        raise ValueError(
            f"part {part!r} has {len(found)} of {len(items)} images that {checkpoint} has seen: {some}; "
            f"{_advice(card.get('split', {}))}, or measure on all images, seen ones too, by --part all"
        )
    logger.warning("%d of %d images were seen in training, so this is no test: %s", len(found), len(items), some)
    return list(items)


def _advice(split: Mapping[str, Any]) -> str:
    if not split.get("held_out") and split.get("fold") is None:
        return "its training held nothing out: train with --held_out 0.2, say, to have images for a test"
    given = {name: split[name] for name in _SPLIT if split.get(name) is not None and split.get(name) is not False}
    options = (
        f"--{name} {shlex.quote(value if isinstance(value, str) else _python(value))}" for name, value in given.items()
    )
    return f"give the split of its training: {' '.join(options)}"


def _python(value: Any) -> str:
    """A number, truth value or list as the command line reads it."""
    return json.dumps(value) if isinstance(value, list) else str(value)
