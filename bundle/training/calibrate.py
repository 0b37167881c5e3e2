"""A network in int8 beside its own file: calibrated on a few images, measured on others, refused where it is worse."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.engines import SupervisedEvaluator
from torch import nn
from tqdm import tqdm

from bundle import atomic
from bundle.data.item import Item
from bundle.geometry import geometry_of
from bundle.inference.backends import prepare_network
from bundle.inference.backends.calibration import calibrated, require_nncf
from bundle.inference.cutting import middle
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.precision import resolve_precision
from bundle.metrics.selection import lower_is_better
from bundle.model import TrainedNetwork
from bundle.model.card import card_file, read_card, write_card
from bundle.model.int8_file import int8_file
from bundle.training.choose_cells import images_to_choose_on

logger = logging.getLogger(__name__)

#: px (voxels) of one tile: enough for the range of every activation, and a GiB of these at width 64
_MOST = 700 * 700


def images_to_calibrate_on(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` of them, or all if they are fewer, spread over the series.

    Raises:
        ValueError: for another ``count`` than a number of at least 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"images must be a number of at least 1, such as 12, got {count!r}")
    return images_to_choose_on([], items)[:count]


class Calibrate:
    """Makes ``model.int8.pt`` beside ``model.pt``, see :class:`bundle.model.int8_file.Int8Network`.

    The middle of each image gives ranges; then the same evaluator measures the network as it is and in int8. What
    changed goes into the card, and as ``int8.csv`` into ``folder``. Nothing is written beside the network where it lost
    more than ``max_loss``.

    Args:
        trained: the model file.
        network: of it, without weights, on the CPU.
        items: preprocessed items with "image", C[H][W][D], and "name", to calibrate on: of training or validation.
        evaluator: over the images to measure on.
        inferer: the evaluator's.
        measure: the metric that decides, of those of the evaluator.
        part: of the data that the evaluator has, for the card.
        max_loss: by how much the measure may be worse.
        folder: of ``int8.csv``; made if absent.

    Raises:
        ValueError: for another ``measure`` or a negative ``max_loss``; at the end, when int8 is worse than that.
        RuntimeError: when NNCF or OpenVINO is not installed, or the processor has no instructions for int8.
    """

    def __init__(
        self,
        trained: TrainedNetwork,
        network: nn.Module,
        items: Sequence[Mapping[str, Any]],
        evaluator: SupervisedEvaluator,
        inferer: OverlapTileInferer,
        measure: str,
        part: str,
        max_loss: float = 0.002,
        folder: str | os.PathLike[str] = "output/int8",
    ) -> None:
        if isinstance(max_loss, bool) or not isinstance(max_loss, (int, float)) or not max_loss >= 0:
            raise ValueError(f"max_loss must be a number of at least 0, such as 0.002, got {max_loss!r}")
        self.trained, self.network = trained, network
        self.items, self.evaluator, self.inferer = items, evaluator, inferer
        self.measure, self.part, self.max_loss = measure, part, max_loss
        self.folder = Path(folder)

    def run(self) -> None:
        """Calibrate, measure, write."""
        require_nncf()
        self.trained.load(self.network)
        self.network.eval()
        tiles, names = self._tiles()
        logger.info("calibrating %s on %d images: %s", self.trained, len(tiles), ", ".join(names))
        int8 = calibrated(self.network, tiles)
        precision = resolve_precision(self.inferer.precision, "cpu")
        before = self._measured(prepare_network(self.network), precision)
        after = self._measured(prepare_network(self.network, "openvino", int8), "int8")
        if self.measure not in before:
            raise ValueError(f"measure must be one of {', '.join(before)}, got {self.measure!r}")
        rows = [[name, before[name], after[name], after[name] - before[name]] for name in before]
        table = atomic.write_csv(self.folder / "int8.csv", ["metric", precision, "int8", "change"], rows, digits=6)
        change = after[self.measure] - before[self.measure]
        loss = change if lower_is_better(self.measure) else -change
        count = int(self.evaluator.state.epoch_length or 0)
        told = (
            f"{self.measure} {before[self.measure]:.4f} in {precision}, {after[self.measure]:.4f} in int8 "
            f"({change:+.4f}), on {count} images of part {self.part!r}"
        )
        if not loss <= self.max_loss:  # NaN, too
            raise ValueError(
                f"int8 makes {self.trained} worse: {told}, where max_loss allows {self.max_loss:g}; nothing is written "
                f"beside it ({table} has all metrics). To have it all the same: --max_loss {loss + 0.0005:.3f}"
            )
        entry = {
            "calibrated_on": names,
            "measured_on": {"part": self.part, "images": count},
            "measure": self.measure,
            "before": {"precision": precision, **before},
            "int8": after,
            "change": change,
        }

        int8.write(self.trained.path)
        write_card(card_file(self.trained.path), {**read_card(self.trained.path), "int8": entry})
        logger.info("%s is written: %s", int8_file(self.trained.path), told)

    def _tiles(self) -> tuple[list[torch.Tensor], list[str]]:
        """The middle of each image, all of one size that fits the smallest of them best."""
        images, names = [], []
        for item in tqdm(self.items, desc="images", unit="image", disable=None):
            images.append(torch.as_tensor(item["image"])[None].float())
            names.append(str(item["name"]))
        if not images:
            return [], []
        geometry = geometry_of(self.network)
        smallest = [min(image.shape[axis] for image in images) for axis in range(2, images[0].dim())]
        return [middle(image, geometry, smallest, _MOST) for image in images], names

    def _measured(self, network: nn.Module, precision: str) -> dict[str, float]:
        self.evaluator.network, self.inferer.precision = network, precision
        logger.info("measuring in %s", precision)
        self.evaluator.run()
        return {name: float(value) for name, value in self.evaluator.state.metrics.items()}
