"""Pictures of validation images during training."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys, ImageMetaKey
from scipy import ndimage as ndi

from bundle.cells import CellOptions, probability_to_instances
from bundle.data.channels import CHANNEL_NAMES
from bundle.data.context import own_channels
from bundle.data.formats import stem
from bundle.data.stated_channels import are_colours
from bundle.output.class_pictures import ClassView
from bundle.output.overlay import shown_channels
from bundle.output.pictures import file_name, panel_and_boxes, write_panel
from bundle.tracking.tracker import MLflowTracker

__all__ = ["PanelHandler"]

logger = logging.getLogger(__name__)


class PanelHandler:
    """Ignite handler for the validator: saves image, truth, weight map, probability and cells found, side by side.

    The first ``count`` images of a validation go to ``folder/<name>_<epoch>.png`` and, with a tracker, to
    ``pictures/`` in the artifacts of its run, so that an image's development can be leafed through. Taken are, from
    ``engine.state.batch`` or else ``engine.state.output``, decollated or not:

    - "image" CHW[D] (centre-cropped to the prediction where a valid network saw more),
    - "pred" 2HW[D] logits, class 1 the cell, or 1HW[D] the probability of "cell",
    - optional "label" 1HW[D], or 2HW[D] with the weight in channel 1 (:func:`bundle.training.batch.prepare_batch`);
      cells of a mask without instances are its connected components,
    - optional "weight" 1HW[D],
    - of several classes instead of the last two: "cells" and "class_map" 1HW[D], "cell_classes", the class of each
      cell, and, where there is a truth, "truth" and "true_classes" 1HW[D], as :class:`bundle.cells.FindClassesd` and
      the validation leave them,
    - optional "name" of the image, as in the data list; else the name of its file and its slice, else its number.

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
        transpose: turn (x, y), as MONAI's readers order the axes, into rows and columns.
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
        transpose: bool = True,
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
        self.transpose = transpose
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
            for item in _items(engine.state.batch, engine.state.output)[: self.count - self._drawn]:
                self._draw(item, driver.state.epoch, of_epoch)
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
        prediction = self._plane(item[CommonKeys.PRED])
        size = prediction.shape[1:]
        image = _centre(self._plane(item[CommonKeys.IMAGE]), size)
        meta = getattr(item[CommonKeys.IMAGE], "meta", {})
        truth = item.get(CommonKeys.LABEL)
        target = None if truth is None else _centre(self._plane(truth), size)
        weight = None if item.get("weight") is None else _centre(self._plane(item["weight"]), size)[0]
        if weight is None and target is not None and len(target) == 2:
            weight = target[1]
        label = None if target is None else _cells(target[0].astype(np.int64))
        if self.names is None:
            classes, probability = None, _probability(prediction)
            found = probability_to_instances(probability, CellOptions.of(self.options, spatial_dims=None, spacing=None))
        else:
            classes, probability = self._classes(item, self.names), None
            found = self._plane(item["cells"])[0].astype(np.int64)
            label = self._plane(item["truth"])[0].astype(np.int64) if "truth" in item else None
        name = _name(item) or f"image{self._drawn:02d}"
        picture, boxes = panel_and_boxes(
            shown_channels(own_channels(image, meta)),
            label,
            weight,
            probability,
            found,
            title=name + of_epoch,
            colours=are_colours(meta.get(CHANNEL_NAMES)),
            classes=classes,
        )
        path = self.folder / f"{name}_{epoch:04d}.png"
        write_panel(path, picture, boxes, self.names or ())
        if self.tracker is not None:
            self.tracker.log_artifact(path, "pictures")

    def _classes(self, item: Mapping[str, Any], names: Sequence[str]) -> ClassView:
        found = self._plane(item["class_map"])[0].astype(np.int64)
        if "true_classes" not in item:
            return ClassView(names, found, None, item["cell_classes"])
        truth, kinds = (self._plane(item[key])[0].astype(np.int64) for key in ("truth", "true_classes"))
        table = np.zeros(int(truth.max(initial=0)) + 1, np.int64)
        table[truth[truth > 0]] = kinds[truth > 0]
        return ClassView(names, found, table, np.asarray(item["cell_classes"]))

    def _plane(self, tensor: Any) -> np.ndarray:
        """CHW[D] as rows and columns, CHW: of a volume the middle slice."""
        array = np.asarray(torch.as_tensor(tensor).detach().cpu().float())
        if array.ndim == 4:
            array = array[..., array.shape[3] // 2]
        return array.transpose(0, 2, 1) if self.transpose else array


def _items(batch: Any, output: Any) -> list[dict[str, Any]]:
    """Output and batch merged, one mapping an image, whether MONAI has decollated them or not.

    The batch comes first: the output's image has gone through ``prepare_batch``, which drops its file's name.
    """
    columns = [_decollate(part) for part in (output, batch)]
    return [{**one, **other} for one, other in zip(*columns, strict=True)]


def _decollate(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, list):
        return part
    columns = {
        key: value for key, value in part.items() if getattr(value, "ndim", 0) > 3 or isinstance(value, list | tuple)
    }
    return [{key: value[i] for key, value in columns.items()} for i in range(len(part[CommonKeys.IMAGE]))]


def _probability(pred: np.ndarray) -> np.ndarray:
    if len(pred) not in (1, 2):
        raise ValueError(f"pred must be 2HW[D] logits or 1HW[D] probabilities, got {tuple(pred.shape)}")
    return np.asarray(torch.from_numpy(pred).softmax(dim=0)[1]) if len(pred) == 2 else pred[0]


def _centre(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    starts = [(n - m) // 2 for n, m in zip(array.shape[1:], size, strict=True)]
    return array[:, starts[0] : starts[0] + size[0], starts[1] : starts[1] + size[1]]


def _cells(label: np.ndarray) -> np.ndarray:
    return ndi.label(label > 0)[0] if label.max(initial=0) == 1 else label


def _name(item: Mapping[str, Any]) -> str:
    """The name of the image, fit for a file name; empty when it is not known."""
    meta = getattr(item[CommonKeys.IMAGE], "meta", {})
    source, index = _only(meta.get("filename_or_obj")), _only(meta.get(ImageMetaKey.PATCH_INDEX))
    name = _only(item.get("name"))
    if not isinstance(name, str) or not name:
        name = stem(source) if isinstance(source, str | os.PathLike) else ""
        name += f"_{int(index):03d}" if name and index is not None else ""
    return file_name(name)


def _only(value: Any) -> Any:
    """What stands alone in a list, as collating leaves it there."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
