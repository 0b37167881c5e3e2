"""What a network was made from: data, split, settings and results, in a JSON file beside the network's.

A state dict tells nothing of the images behind it. Whoever measures it must know which of them it has seen, and whoever
receives it, where it comes from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle import atomic
from bundle.cells import CellOptions
from bundle.console import counted, listed
from bundle.data.classes import Classes, classes_of_data
from bundle.data.fingerprint import READABLE, Seen, seen_images
from bundle.data.item import Item
from bundle.model.card_schema import require_card
from bundle.model.renamed import translated

logger = logging.getLogger(__name__)

#: the cells of train.json, for a network without a card
_UNTOLD = CellOptions(min_size=20, close_gaps=1.0)

#: options of the command line that decide which image is in which part
_SPLIT = ("held_out", "fold", "folds", "blocks", "validation", "split_seed")
#: in the folder of a run; the second is of earlier versions
OF_RUN = ("card.json", "about.json")
#: entry of the file that is no part of the card
_CHECKSUM = "checksum"


def card_file(checkpoint: str | os.PathLike[str]) -> Path:
    """``models/model.json`` of ``models/model.pt``; ``card.json`` in the folder of a run, for all its checkpoints."""
    path = Path(checkpoint)
    of_run = [file for name in OF_RUN if (file := path.parent / name).is_file()]
    return of_run[0] if of_run else path.with_suffix(".json")


def write_card(path: str | os.PathLike[str], card: Mapping[str, Any], of: str | os.PathLike[str] | None = None) -> None:
    """Write such a file with its checksum, whole or not at all; ``of`` is the network's file that it describes."""
    if of is not None:
        card = {"sha256": atomic.sha256(of), **card}
    content = json.loads(json.dumps(card, default=str))
    atomic.write_json(path, {**content, _CHECKSUM: _checksum(content)})


def _checksum(content: Mapping[str, Any]) -> str:
    """Of names and values, not of how they are set."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_card(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """The card beside a checkpoint, whichever content it describes (``sha256``); empty where there is none.

    Raises:
        ValueError: when it is damaged (those of version 0.1 have no checksum), or holds what no card may
            (:func:`bundle.model.card_schema.require_card`).
    """
    path = card_file(checkpoint)
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, it is no JSON ({error}): put a copy of it there, or remove it") from error
    card = require_card(card, path)
    checksum = card.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(card):
        raise ValueError(
            f"{path} is damaged, it does not match its checksum: put a copy of it there, or remove it "
            f'("{_CHECKSUM}" alone, if you changed it yourself)'
        )
    return card


def origin(card: Mapping[str, Any]) -> str:
    """Where a network comes from, for a person: its run and experiment, and what it was trained on.

    Examples:
        >>> origin(read_card("models/em_membranes.pt"))
        'run em-default-s0 of em, trained on 20 images: train-00, train-01, train-02 and 17 more'
    """
    config, data = card.get("config"), card.get("data", {})
    names = list(data.get("trained_on", {}))
    if not names:
        return "of unknown training"
    experiment = (isinstance(config, dict) and config.get("experiment_name")) or "no experiment"
    run = f"run {card['run']} of " if "run" in card else ""
    return f"{run}{experiment}, trained on {counted(len(names), 'image')}: {listed(names, 3)}"


def cell_options(card: Mapping[str, Any], **changes: Any) -> CellOptions:
    """How cells are read off a network's probabilities: as its training's config had it, else as train.json has it.

    Args:
        card: of the network.
        changes: single options, instead of what the training had.

    Raises:
        ValueError: for an option that is unknown or out of its range.
    """
    return CellOptions.of(_UNTOLD, **_trained_cells(card) | changes)


def cells_of(
    options_of: Mapping[str, Mapping[str, Any]], cells: CellOptions, before: CellOptions
) -> dict[str, dict[str, Any]]:
    """Single options of single classes without those that were changed for all classes.

    Args:
        options_of: by the name of the class.
        cells: of all classes; what it has otherwise than ``before``, a person has given.
        before: those that ``options_of`` was made with.

    Returns:
        what stays; a ``low_threshold`` that would lie above a changed threshold comes down to it.

    Raises:
        ValueError: for an option that is unknown or out of its range.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, options in options_of.items():
        own = {key: value for key, value in options.items() if cells.told.get(key) == before.told.get(key)}
        if "low_threshold" in own and "threshold" not in own:
            own["low_threshold"] = CellOptions.of(before, **options).at(cells.threshold).low_threshold
        found[name] = own
    return found


def _trained_cells(card: Mapping[str, Any]) -> dict[str, Any]:
    if "cells" in card:
        return dict(card["cells"])
    # cards of earlier versions have them in the executed config only, whose expressions have no meaning elsewhere
    config = card.get("config")
    trained = config.get("cells") if isinstance(config, dict) else None
    known = translated("cells", trained) if isinstance(trained, dict) else {}
    return {
        name: value
        for name, value in known.items()
        if name in _UNTOLD.told
        and isinstance(value, str | float | int | None)
        and not str(value).strip().startswith(("$", "@", "%"))
    }


def classes(card: Mapping[str, Any]) -> Classes | None:
    """The classes of a network, in the order of its channels; None where the card does not tell them."""
    if "classes" not in card:
        return None
    return classes_of_data(None, card.get("truth", "classes"), card["classes"])


def robust_gray(card: Mapping[str, Any]) -> bool:
    """Whether the training standardized with ``robust``, so that what comes later has to."""
    config = card.get("config")  # cards of earlier versions have it there only
    image = card.get("image", config)
    standardize = image.get("standardize") if isinstance(image, dict) else None
    return isinstance(standardize, dict) and standardize.get("robust") is True


def require_unseen(
    items: Sequence[Item], part: str, card: Mapping[str, Any], network: object, trust: bool = False
) -> list[Item]:
    """The items of an evaluation, after checking that they are what the name of their part says.

    Images are identified by their content: neither another folder nor another fold number hides that a network was
    trained on them.

    Args:
        items: datalist of the part.
        part: "held_out" must hold nothing that trained the network or chose its checkpoint, "validation" nothing
            that trained it. With any other part, the log names the images that the network has seen.
        card: of the network; when it does not tell, nothing can be checked, which is said in the log, too.
        network: what messages call it.
        trust: call images held out also where nothing can be checked.

    Returns:
        ``items``.

    Raises:
        ValueError: naming the images and the split that the training had.
        ValueError: for part "held_out" when the card does not tell, unless ``trust``.
    """
    data = card.get("data", {})
    if "trained_on" not in data or data.get("images_by") not in READABLE:
        unknown = f"{network} has no card that tells which images trained it"
        if part == "held_out" and not trust:
            raise ValueError(
                f"{unknown}, so nobody can tell whether those of part 'held_out' are new to it: put its card there, "
                "measure on all images by --part all, or add --trust_weights true if you know that they are"
            )
        logger.warning("%s: part %s cannot be checked", unknown, part)
        return list(items)
    chosen_by = {} if part == "validation" else data.get("validated_on", {})
    known = {f"{name} (used to choose the checkpoint)": text for name, text in chosen_by.items()}
    known |= {f"{name} (trained on)": text for name, text in data["trained_on"].items()}
    seen = seen_images(items, known)
    same, nearly = ([each for each in seen if each.same is wanted] for wanted in (True, False))
    if nearly:
        logger.warning(
            "%d images of part %s are nearly images that %s has seen (copies, or neighbours in a film), so they are "
            "no test: %s", len(nearly), part, network, _pairs(nearly),
        )  # fmt: skip
    if not same:
        return list(items)
    if part in ("held_out", "validation"):
        raise ValueError(
            f"part {part!r} has {len(same)} of {len(items)} images that {network} has seen: {_pairs(same)}; "
            f"{_advice(card.get('split', {}))}, or measure on all images, seen ones too, by --part all"
        )
    logger.warning(
        "%d of %d images were used in training, so this is not a test: %s", len(same), len(items), _pairs(same)
    )
    return list(items)


def _pairs(seen: Sequence[Seen]) -> str:
    """The first few, with the name that a network knows an image by where that is another one."""
    told = []
    for item, name, same, correlation in seen[:5]:
        own = item.get("name", Path(item["image"]).name)
        known = name if name.startswith(f"{own} (") else f"{own} = {name}" if same else f"{own} like {name}"
        told.append(known if same else f"{known}, correlation {correlation:.3f}")
    return ", ".join([*told, "..."] if len(seen) > len(told) else told)


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
