"""How one image is cut into tiles and blocks, and the passes over them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bundle import atomic
from bundle.data.pixel_size import pixel_size
from bundle.data.stores import LazyImage
from bundle.geometry import BlockPlan, TilePlan, Turn
from bundle.inference.precision import resolve_precision
from bundle.large.executor import Task, run_blocks, torch_threads
from bundle.large.forecast import sizes_text, tell_plan
from bundle.large.gray import GrayValues, StandardizedImage, measure, require_unchanged
from bundle.large.job import Job, machine
from bundle.large.label_image import label_image, label_type
from bundle.large.probability import ProbabilityBlocks
from bundle.large.pyramid import build_pyramid
from bundle.large.result_store import Layout, ResultStore
from bundle.large.settings import Settings

logger = logging.getLogger(__name__)

#: px along an axis for which the cheapest tile is looked for: beyond, the choice takes long and the edges say little
_ENOUGH = 16384
#: bytes of a process with torch and MONAI that does nothing yet
_PROCESS = 600 * 2**20


class ImageInBlocks:
    """An image, its plan of tiles and blocks, and the two passes: the probability, and the cells of it.

    Args:
        image: whose pixels are read when they are needed.
        settings: of the command.
        begun: fingerprint of a job that was begun: its tiles and blocks, where no others are asked for.

    Attributes:
        spacing: as :class:`bundle.large.result_store.Layout` has it.
    """

    def __init__(self, image: LazyImage, settings: Settings, begun: Mapping[str, str] | None = None) -> None:
        self.image, self.settings = image, settings
        axes = settings.axes
        self.slices = image.size[2] if len(image.size) > axes else None
        size = image.size[:axes]
        inferer = settings.inferer
        tile: Any = inferer.tile_size or (begun and _numbers(begun["tile_size"]))
        if tile is None:
            some = tuple(min(n, _ENOUGH) for n in size)
            tile = inferer.choose_tile(some, settings.shown, settings.predictor, settings.device, images=0)
        tiles = settings.geometry.plan(size, tile)
        block = settings.block_size
        if block is None and begun is not None and begun["tile_size"] == sizes_text(tiles.tile_size):
            block = _numbers(begun["block_size"])
        self.plan = BlockPlan(tiles, block)
        self.spacing = _stated(image, axes)

    @property
    def layout(self) -> Layout:
        image, kinds = self.image, self.settings.kinds()
        chunks = self.plan.chunk_sizes if self.slices is None else (*self.plan.chunk_sizes, 1)
        what = self.settings.dtype, self.settings.version, kinds.names, label_type(math.prod(image.size), kinds)
        return Layout(image.size, image.slice_axis, self.spacing, chunks, *what)

    def tell_plan(self, job: Job, complete: bool) -> None:
        """Blocks, disk and time, the latter from one tile; ``complete``: the probability is there."""
        settings = self.settings
        blocks = len(self.plan) * (self.slices or 1)
        done = blocks if complete else int(job.markers("probability").done(blocks).sum())
        one = torch.zeros((1, settings.shown, *self.plan.plan.tile_size), device=settings.device)
        with torch_threads(settings.executor.threads):
            tell_plan(self.image, self.plan, self.slices, self.layout, settings.run(), one, len(self._turns()), done)

    def gray(self, job: Job) -> GrayValues:
        """Those of the image, which is read for it; of a job that was begun, as it remembers them."""
        known = job.remembered("gray")
        if known:
            gray = GrayValues.from_json(known)
            require_unchanged(self.image, gray)
        else:
            gray = measure(self.image, self.settings.channels, self.slices is not None, self.settings.robust)
            job.remember("gray", gray.as_json())
        return gray

    def segment(self, job: Job, store: ResultStore, gray: GrayValues | None) -> None:
        """What is not done yet; ``gray`` is needed where the probability is not."""
        if gray is not None and not store.note["probability"]:
            self._probability(job, store, gray)
            store.note = {**store.note, "probability": True}
        self._cells(job, store)

    def _probability(self, job: Job, store: ResultStore, gray: GrayValues) -> None:
        image, settings = self.image, self.settings
        levels = store.levels()
        source = StandardizedImage(image, settings.channels, gray, settings.context_slices)
        blocks = ProbabilityBlocks(
            *(source, self.plan, self.slices, settings.run(), settings.device, levels[0], settings.dtype),
            *(self._turns(), settings.inferer.read, self.layout.class_axis),
        )

        def require_there() -> None:
            store.require_there()
            if not Path(image.path).exists():
                raise FileNotFoundError(f"{image.path} has gone")

        task = Task(
            *("probability", len(blocks), blocks, job.markers("probability"), require_there),
            memory=self._memory(),
            made_by=tuple(machine(settings.device, settings.executor.threads).items()),
        )
        before = run_blocks(task, settings.executor)
        if before:
            logger.info("%s: %d of %d blocks had been done before", job.path, before, len(blocks))
        build_pyramid(levels, job.markers("pyramid"), mean=True)

    def _cells(self, job: Job, store: ResultStore) -> None:
        """Of the stored probability; again where they are to be read otherwise than before."""
        spacing = tuple(self.settings.spacing) if self.settings.spacing else self.spacing
        kinds = self.settings.kinds()
        wanted = {**kinds.told(), "spacing of sizes": str(spacing)}
        before = store.note["cells"]
        if before is not None and before["options"] == wanted:
            logger.info("%s is complete: nothing is left to do", job.path)
            return
        store.note = {**store.note, "cells": None}
        table = job.path.with_name(f"{job.path.name.removesuffix('.ome.zarr')}_cells.csv")
        row = label_image(job, store, self.layout, self.plan, self.slices, kinds, spacing, table)
        store.note = {**store.note, "cells": {"options": wanted, "summary": row}}
        logger.info("%s: %s cells", job.path, row["cells"])

    def _memory(self) -> float:
        """Bytes that a process takes that computes blocks, about: Python, network, a tile, and a block's pixels."""
        settings = self.settings
        weights: int = sum(tensor.nbytes for tensor in settings.predictor.state_dict().values())
        tile = settings.inferer.tile_memory(
            self.plan.plan.tile_size, settings.shown, settings.predictor, settings.device
        )
        pixels = math.prod(stop - start for start, stop in self.plan[0].input)
        outputs = len(settings.find_classes.names or ("cell",))
        return _PROCESS + 2 * weights + tile + pixels * (self.image.stated.count + 3 * settings.shown + 3 * outputs) * 4

    def _turns(self) -> list[tuple[Turn, TilePlan]]:
        return self.settings.inferer.turns(self.settings.geometry, self.plan.plan)

    @property
    def sizes(self) -> dict[str, str]:
        """Of tiles and blocks: with :func:`fingerprint` they decide about every bit of the result."""
        return {"tile_size": sizes_text(self.plan.plan.tile_size), "block_size": sizes_text(self.plan.sizes)}


def fingerprint(image: LazyImage, settings: Settings) -> dict[str, str]:
    """What decides about the bits of a result besides the sizes of tiles and blocks."""
    int8 = getattr(settings.predictor, "int8", None)
    return {
        **{f"image {key}": str(value) for key, value in image.pixels.identity().items()},
        "network": atomic.sha256(settings.trained.path),
        **({} if int8 is None else {"int8 network": atomic.sha256(int8.path)}),
        "channels": str(settings.channels.select),
        "standardize": "robust" if settings.robust else "mean and deviation",
        "context_slices": str(settings.context_slices),
        "classes": ", ".join(settings.find_classes.names or ("cell",)),
        "tta": settings.inferer.tta,
        "probability_dtype": settings.dtype,
        "ome_zarr": settings.version,
        "missing": settings.missing,
        "precision": resolve_precision(settings.inferer.precision, settings.device, settings.predictor),
        "backend": str(getattr(settings.predictor, "backend", "eager")),
        **machine(settings.device, settings.executor.threads),
    }


def _stated(image: LazyImage, axes: int) -> tuple[float, ...] | None:
    """The spacing as the file states it, for a network of ``axes``: of a TIFF neither resolution tags alone count nor
    the 1 µm that stands for an unknown distance of slices."""
    size = pixel_size(image.path)
    if image.spacing is None or size is None:  # a store has all or none
        return image.spacing
    if not size.calibrated or (size.z is None and axes == 3):
        return None
    return (*image.spacing[:2], *(size.z or math.nan for _ in image.spacing[2:]))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(" x ")]
