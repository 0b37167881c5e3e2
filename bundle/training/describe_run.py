"""What a trained network was made from, written beside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.engines import Workflow

from bundle.data.classes import Classes
from bundle.data.fingerprint import IMAGES_BY, READABLE, image_fingerprints
from bundle.data.item import Item
from bundle.data.spacing import common_sides
from bundle.data.splits import split_told
from bundle.model import TrainedNetwork
from bundle.model.architecture import network_entry
from bundle.model.card import write_card
from bundle.model.image_entry import image_entry
from bundle.model.publish import is_published
from bundle.tracking.config import executed_config, resolved, running_parser
from bundle.tracking.mlflow_run import earlier_run_id
from bundle.tracking.provenance import provenance
from bundle.training.choose_cells import ChooseCells

logger = logging.getLogger(__name__)


class DescribeRun:
    """Ignite handler for the trainer: writes ``card.json`` into the folder of the run, see :mod:`bundle.model.card`.

    It holds the network's name and arguments (:class:`bundle.model.TrainedNetwork` builds it from them), the
    executed config, code version and packages, the split, the content of every image that trains or validates, and at
    the end what came out. A published network gets a copy: ``model.json`` beside ``model.pt``. Attach it after
    :class:`bundle.training.SaveRun`. On several processes the first one writes.

    Args:
        run_dir: folder of the run.
        trained_on, validated_on: datalists.
        data_fingerprint: of all data, as the data modules compute it.
        must_match: what fixes the run: split, seeds.
        evaluator: the engine of the validation.
        model_file: where the network is published; None for nowhere.
        pretrained: the network that this one starts from; its images count as seen by this one.
        choice: what has chosen how cells are read, when training is complete.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        trained_on: Sequence[Item],
        validated_on: Sequence[Item] = (),
        data_fingerprint: str | None = None,
        must_match: Mapping[str, Any] | None = None,
        evaluator: Workflow | None = None,
        model_file: str | os.PathLike[str] | None = None,
        pretrained: TrainedNetwork | None = None,
        choice: ChooseCells | None = None,
    ) -> None:
        self.run_dir = Path(run_dir)
        self.trained_on = trained_on
        self.validated_on = validated_on
        self.data_fingerprint = data_fingerprint
        self.must_match = dict(must_match or {})
        self.evaluator = evaluator
        self.model_file = model_file
        self.pretrained = pretrained
        self.choice = choice
        self._card: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        if getattr(engine.state, "rank", 0) == 0:
            engine.add_event_handler(Events.STARTED, self.describe)
            engine.add_event_handler(Events.COMPLETED, self.conclude)

    def describe(self, trainer: Engine) -> None:
        """Write what is known before the first step."""
        parser = running_parser()
        config = executed_config(parser) if parser is not None else None
        if config is not None:
            config.pop("tracking_uri", None)  # may hold a password; this file goes where the network goes
        cells = resolved(parser, "cells")
        self._card = {
            "run": self.run_dir.name,
            "split": self.must_match,
            "data": self._data(),
            "provenance": provenance(config, self.data_fingerprint),
            "network": network_entry(parser),
            **_image(parser),
            **({} if cells is None else {"cells": cells.told}),
            **_classes(parser),
            "config": config,
        }
        if spacing := self._spacing(parser):
            self._card.setdefault("image", {})["spacing"] = spacing
        write_card(self.run_dir / "card.json", self._card)
        logger.info("%s", split_told(self.trained_on, self.validated_on))

    def _spacing(self, parser: ConfigParser | None) -> list[float] | None:
        """µm between voxels, or the sides of a pixel; None where these are unknown or differ."""
        if parser is not None and "voxel_spacing" in parser:
            spacing: list[float] = parser.get_parsed_content("voxel_spacing")
            return spacing
        return common_sides(self.trained_on)

    def _data(self) -> dict[str, Any]:
        """The images that train and validate, also those of the network that this one starts from."""
        data: dict[str, Any] = {
            "fingerprint": self.data_fingerprint,
            "images_by": IMAGES_BY,
            "trained_on": image_fingerprints(self.trained_on),
            "validated_on": image_fingerprints(self.validated_on),
        }
        if self.pretrained is None:
            return data
        before = self.pretrained.card.get("data", {})
        if before.get("images_by") not in READABLE:
            logger.warning(
                "%s has no card: the images that trained it are unknown, so no evaluation can call images held out",
                self.pretrained,
            )
            return data | {"images_by": "unknown"}
        for part in ("trained_on", "validated_on"):
            data[part] = _merged(data[part], before.get(part, {}))
        return data

    def conclude(self, trainer: Engine) -> None:
        """Add what came out, and leave a copy beside the published network."""
        result: dict[str, Any] = {"epochs": trainer.state.epoch, "steps": trainer.state.iteration}
        state = self.evaluator.state if self.evaluator is not None else None
        if state is not None and state.best_metric_epoch != -1:
            result |= {"best_epoch": state.best_metric_epoch, state.key_metric_name: float(state.best_metric)}
        chosen = {} if self.choice is None else self.choice.in_card()
        card = {"mlflow_run_id": earlier_run_id(self.run_dir), "result": result, **self._card, **chosen}
        write_card(self.run_dir / "card.json", card)
        if self.model_file is not None and is_published(self.run_dir, self.model_file):
            write_card(Path(self.model_file).with_suffix(".json"), card, of=self.model_file)


def _classes(parser: ConfigParser | None) -> dict[str, Any]:
    """Names and kind of truth, where there are several kinds of object."""
    classes = resolved(parser, "classes")
    if not isinstance(classes, Classes) or classes.binary:
        return {}
    of = resolved(parser, "cells_of")
    return {"classes": list(classes.names), "truth": classes.kind, **({"cells_of": dict(of)} if of else {})}


def _image(parser: ConfigParser | None) -> dict[str, Any]:
    """What images the network takes, where the config says it."""
    image, robust = resolved(parser, "image"), resolved(parser, "standardize#robust") is True
    return {} if image is None else {"image": image_entry(image, robust, resolved(parser, "context_slices") or 0)}


def _merged(own: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Both, by content: an earlier image keeps its name, unless another one has it now."""
    found = dict(own)
    for name, text in before.items():
        if text not in found.values():
            found[name if name not in found else f"{name} ({text[:16]})"] = text
    return found
