"""Pictures of validation images during training."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys
from scipy import ndimage as ndi

from bundle.cells import CellOptions, probability_to_instances
from bundle.data.channel_names import are_colours
from bundle.data.channels import CHANNEL_NAMES
from bundle.data.context import own_channels
from bundle.data.formats import stem
from bundle.output.class_pictures import ClassView
from bundle.output.overlay import shown_channels
from bundle.output.pictures import file_name, panel_and_boxes, write_panel
from bundle.tracking.tracker import MLflowTracker

logger = logging.getLogger(__name__)


class PanelHandler:
    """Ignite handler for the validator: saves image, truth, weight map, probability and cells found, side by side.

    The first ``count`` images of a validation go to ``folder/<name>_<epoch>.png`` and, with a tracker, to
    ``pictures/`` in the artifacts of its run, so that an image's development can be leafed through. Taken are, from
    the decollated ``engine.state.batch`` or else ``engine.state.output``, in MONAI's order of axes (x, y[, z]):

    - "image" CHW[D], a MetaTensor,
    - "label" 1HW[D]; cells of a mask without instances are its connected components,
    - optional "weight" 1HW[D],
    - "pred" 2HW[D] logits, class 1 the cell,
    - of several classes instead of "label" and "pred": "cells", "class_map" and "truth" 1HW[D], "cell_classes", the
      class of each cell, and optional "true_classes" 1HW[D], as :class:`bundle.cells.FindClassesd` and the validation
      leave them,
    - "name" of the image, as in the data list; a DICOM server's images are called after their file.

    Of volumes the middle slice along the last axis is shown. Every PNG says where its steps lie, so
    :mod:`bundle.studies.comparison` can put the same step of several runs side by side. A picture that fails costs a
    warning, not the training.

    Args:
        folder: where the pictures go; made if absent.
        tracker: of the run; its engine tells the epoch. None: the validator's own.
        count: pictures of one validation, at least 1.
        every: validations from one set of pictures to the next, at least 1; the first is always shown, and that of the
            trainer's last epoch.
        options: how cells are found; None: the options' defaults.
        names: of the classes, the background's first; None: there is one kind of cell.

    Raises:
        ValueError: for ``count`` or ``every`` below 1.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        tracker: MLflowTracker | None = None,
        count: int = 4,
        every: int = 1,
        options: CellOptions | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        for name, value in (("count", count), ("every", every)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1 (1 is the nearest), got {value}")
        self.folder = Path(folder)
        self.tracker = tracker
        self.count = count
        self.every = every
        self.options = options
        self.names = names
        self._validations = 0
        self._drawn = 0
        self._warned = False

    def attach(self, engine: Engine) -> None:
        if getattr(engine.state, "rank", 0) == 0:
            engine.add_event_handler(Events.STARTED, self._begin)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _begin(self, engine: Engine) -> None:
        driver = self._driver(engine)
        last = driver is not engine and driver.state.epoch == driver.state.max_epochs
        self._drawn = 0 if last or self._validations % self.every == 0 else self.count
        self._validations += 1

    def __call__(self, engine: Engine) -> None:
        if self._drawn >= self.count:
            return
        try:
            driver = self._driver(engine)
            of_epoch = "" if driver is engine else f", epoch {driver.state.epoch}"  # an evaluation has but one
            batch: Any = engine.state.batch
            output: Any = engine.state.output
            for before, after in islice(zip(batch, output, strict=True), self.count - self._drawn):
                # the output's image has gone through prepare_batch, which drops its file's name
                self._draw({**after, **before}, driver.state.epoch, of_epoch)
                self._drawn += 1
        except Exception as error:
            if not self._warned:
                logger.warning("no picture of this validation: %s: %s", type(error).__name__, error)
                self._warned = True
            self._drawn = self.count

    def _driver(self, engine: Engine) -> Engine:
        """The trainer, if the tracker knows one; else the validator itself."""
        return self.tracker.engine if self.tracker is not None and self.tracker.engine is not None else engine

    def _draw(self, item: Mapping[str, Any], epoch: int, of_epoch: str) -> None:
        image, weight = item[CommonKeys.IMAGE], item.get("weight")
        if self.names is None:
            classes, label = None, _cells(_numbers(item[CommonKeys.LABEL]))
            probability = np.asarray(torch.from_numpy(_plane(item[CommonKeys.PRED])).softmax(dim=0)[1])
            found = probability_to_instances(probability, CellOptions.of(self.options, spatial_dims=None, spacing=None))
        else:
            classes, label = _class_view(item, self.names), _numbers(item["truth"])
            probability, found = None, _numbers(item["cells"])
        name = file_name(item.get("name") or stem(image.meta["filename_or_obj"]))
        picture, boxes = panel_and_boxes(
            shown_channels(own_channels(_plane(image), image.meta)),
            label,
            None if weight is None else _plane(weight)[0],
            probability,
            found,
            title=name + of_epoch,
            colours=are_colours(image.meta.get(CHANNEL_NAMES)),
            classes=classes,
        )
        path = self.folder / f"{name}_{epoch:04d}.png"
        write_panel(path, picture, boxes, self.names or ())
        if self.tracker is not None:
            self.tracker.log_artifact(path, "pictures")


def _class_view(item: Mapping[str, Any], names: Sequence[str]) -> ClassView:
    found = _numbers(item["class_map"])
    if "true_classes" not in item:
        return ClassView(names, found, None, item["cell_classes"])
    truth, kinds = _numbers(item["truth"]), _numbers(item["true_classes"])
    table = np.zeros(int(truth.max(initial=0)) + 1, np.int64)
    table[truth[truth > 0]] = kinds[truth > 0]
    return ClassView(names, found, table, np.asarray(item["cell_classes"]))


def _plane(tensor: Any) -> np.ndarray:
    """C(x)(y)[D] as rows and columns, CHW: of a volume the middle slice."""
    array = np.asarray(torch.as_tensor(tensor).detach().cpu().float())
    if array.ndim == 4:
        array = array[..., array.shape[3] // 2]
    return array.transpose(0, 2, 1)


def _numbers(tensor: Any) -> np.ndarray:
    return np.asarray(_plane(tensor)[0], np.int64)


def _cells(label: np.ndarray) -> np.ndarray:
    return ndi.label(label > 0)[0] if label.max(initial=0) == 1 else label
