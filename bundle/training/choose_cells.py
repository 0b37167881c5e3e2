"""How cells are read off probabilities, chosen on annotated images: at the end of a training, and by a command."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import convert_to_numpy

from bundle import atomic
from bundle.cells import AutoCellOptions, CellOptions
from bundle.cells.classes import options_of_classes, own_probability
from bundle.data.item import Item
from bundle.tracking.tracker import MLflowTracker
from bundle.training.cell_search import FEW, Annotated, Fit, search_options

logger = logging.getLogger(__name__)

#: annotated cells that are enough for a choice
_ENOUGH = 50
#: SEG below which a network is no use
_USELESS = 0.1
#: px (voxels) of all images together: some fifty ways of reading are tried on each of them
_MOST = 2**21


def images_to_choose_on(validation: Sequence[Item], training: Sequence[Item]) -> list[Item]:
    """Those that validate, then those that train; any first few of either are spread over all of their kind."""
    return [*_spread(validation), *_spread(training)]


def _spread(items: Sequence[Item]) -> list[Item]:
    golden = (5**0.5 - 1) / 2
    return [items[number] for number in sorted(range(len(items)), key=lambda number: number * golden % 1)]


class ChooseCells:
    """Ignite handler for an evaluator: chooses the options of cells that are "auto".

    It takes validation images; where these have fewer than 50 annotated cells, training images count, too, until there
    are as many. Of images with more than two million px in all, the middle is taken.
    :func:`bundle.training.cell_search.search_options` chooses. ``choice.csv`` lists what was tried, the choice first;
    ``cells.json`` holds the choice as an overlay for the configs. With classes of pixels each class has its own choice.

    Args:
        folder: where both go; made if absent.
        options: those to start with; without "auto" ones there is nothing to choose.
        options_of: single options of single classes, which stay.
        validating: how many of the evaluator's images, the first ones, did not train the network; None for all.
        part: of the data; only "validation" is allowed, for what is chosen on others cannot be measured there.
        tracker: of the run; None logs nowhere.
        names: of the classes, the background's first, where cells are read for each by itself; None: for all together.

    Attributes:
        chosen: options by the class's name, or by None for all together; empty before.
        told: what the card says of the choice: images of each part, and their cells.

    Raises:
        ValueError: for another part; at the end, where no cell is annotated and all images validate.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        options: CellOptions,
        options_of: Mapping[str, Mapping[str, Any]] | None = None,
        validating: int | None = None,
        part: str = "validation",
        tracker: MLflowTracker | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if part != "validation":
            raise ValueError(f"part must be 'validation' to choose on, got {part!r}: measure on the others afterwards")
        self.folder = Path(folder)
        self.auto = getattr(options, "auto", ())
        self.start = options.fixed() if isinstance(options, AutoCellOptions) else options
        self.validating = validating
        self.tracker = tracker
        self.kinds: Sequence[str | None] = [None] if names is None else names[1:]
        of_class = options_of_classes(names, self.start, options_of) if names is not None else [self.start]
        given = {str(name).lower(): dict(options) for name, options in (options_of or {}).items()}
        self.given = {kind: given.get((kind or "").lower(), {}) for kind in self.kinds}
        self.starts = dict(zip(self.kinds, of_class, strict=True))
        self.chosen: dict[str | None, CellOptions] = {}
        self.told: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self)

    def _begin(self, engine: Engine) -> None:
        self.chosen, self.told = {}, {}
        self._images: dict[str | None, list[Annotated]] = {kind: [] for kind in self.kinds}
        self._pixels = self._cells = self._trained = 0

    def _collect(self, engine: Engine) -> None:
        output: Any = engine.state.output
        for item in output if isinstance(output, list) else [output]:
            count = len(self._images[self.kinds[0]])
            training = self.validating is not None and count >= self.validating
            if self._pixels > 0.9 * _MOST or (training and self._cells >= _ENOUGH):
                engine.terminate()
                return
            self._trained += training
            for kind, image in zip(self.kinds, self._of_classes(item), strict=True):
                whole = Annotated(*(_middle(array, _MOST - self._pixels) for array in image))
                self._images[kind].append(whole)
                self._cells += len(np.unique(whole.truth[whole.truth > 0]))
            self._pixels += whole.truth.size

    def _of_classes(self, item: Mapping[str, Any]) -> Iterator[Annotated]:
        truth = convert_to_numpy(item["truth"])[0]
        if self.kinds[0] is None:
            yield Annotated(convert_to_numpy(item["probability_cell"])[0], truth)
            return
        probability, classes = convert_to_numpy(item["probability"]), convert_to_numpy(item["true_classes"])[0]
        for number in range(1, len(probability)):
            own = np.where(classes == number, truth, np.minimum(truth, 0))
            yield Annotated(own_probability(probability, number), own)

    def __call__(self, engine: Engine) -> None:
        found: dict[str | None, list[Fit]] = {}
        for kind, images in self._images.items():
            if any((image.truth > 0).any() for image in images):
                free = set(self.auto) - set(self.given[kind])
                found[kind] = search_options(images, self.starts[kind], free)
            elif kind is not None:
                logger.warning("no image has an annotated cell of class %r: nothing is chosen for it", kind)
        if not found:
            nothing = "no image has an annotated cell: how cells are read cannot be chosen"
            if self.validating is None:
                raise ValueError(nothing)
            logger.warning(nothing)
            return
        self.chosen = {kind: fits[0].options for kind, fits in found.items()}
        count = len(self._images[self.kinds[0]])
        on = {"validation": count - self._trained, "training": self._trained}
        self.told = {"images": {part: number for part, number in on.items() if number}, "cells": self._cells}
        for kind, fits in found.items():
            before = next(fit for fit in fits if fit.options == self.starts[kind])
            self._tell("" if kind is None else f"{kind}: ", fits[0], before)
        self._write(found)
        self._images = {}

    def _tell(self, kind: str, best: Fit, before: Fit) -> None:
        on = " and ".join(f"{number} {part}" for part, number in self.told["images"].items())
        options = best.options.told
        logger.info(
            "%scells are read with %s, as chosen on %s images: SEG %.3f (before this choice %.3f), %d of %d cells "
            "found, %d invented%s%s",
            kind,
            ", ".join(f"{name} {options[name]}" for name in self.auto) or "what is given",
            on,
            best.seg,
            before.seg,
            best.found,
            best.cells,
            sum(best.invented),
            "; so few cells tell little of other images" if best.cells < _ENOUGH else "",
            f"; thresholds are chosen on {FEW} images or more only: where outlines are too small in new images, try "
            "--cells#low_threshold 0.3"
            if sum(self.told["images"].values()) < FEW and "low_threshold" in self.auto
            else "",
        )
        if best.seg < _USELESS:
            logger.warning("SEG %.3f: the network finds next to nothing; look at pictures/ and train longer", best.seg)

    def _write(self, found: Mapping[str | None, Sequence[Fit]]) -> None:
        rows = [([] if kind is None else [kind], fit) for kind, fits in found.items() for fit in fits]
        head = [*(["class"] if None not in found else []), *self.start.told, "seg", "score", "found", "missed", "false"]
        values = (
            [*kind, *fit.options.told.values(), fit.seg, fit.score, fit.found, fit.cells - fit.found, sum(fit.invented)]
            for kind, fit in rows
        )
        atomic.write_csv(self.folder / "choice.csv", head, values)
        atomic.write_json(self.folder / "cells.json", self.overlay())
        if self.tracker is not None:
            for name in ("choice.csv", "cells.json"):
                self.tracker.log_artifact(self.folder / name)

    def in_card(self) -> dict[str, Any]:
        """Entries of the network's card; none where nothing was chosen."""
        if not self.chosen:
            return {}
        one = self.chosen.get(None)
        cells: dict[str, Any] = self.overlay() if one is None else {"cells": one.told}
        return {**cells, "cells_chosen": self.told}

    def overlay(self) -> dict[str, Any]:
        """The choice as entries of a config."""
        if None in self.chosen:
            return {f"cells#{name}": value for name, value in self.chosen[None].told.items()}
        # those that are not chosen are left to the shared ones, which inference may change
        auto = {kind: {name: options.told[name] for name in self.auto} for kind, options in self.chosen.items()}
        of_class = {kind: given | auto.get(kind, {}) for kind, given in self.given.items()}
        return {"cells_of": {kind: options for kind, options in of_class.items() if options}}


def _middle(image: np.ndarray, most: int) -> np.ndarray:
    """The middle of an image, no more than ``most`` px: the same part of each side."""
    part = min(1.0, (most / image.size) ** (1 / image.ndim))
    sides = [max(1, int(n * part)) for n in image.shape]
    starts = [(n - side) // 2 for n, side in zip(image.shape, sides, strict=True)]
    return image[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))]
