"""Segments images block by block: plans a job, begins it or goes on with it, and says what came of it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bundle import atomic
from bundle.atomic import append_csv, require_writable
from bundle.cells import CellOptions, FindClassesd
from bundle.console import true_or_false
from bundle.data.channels import Channels
from bundle.data.context import said_of_no_stack
from bundle.data.errors import ImageError
from bundle.data.formats import stem
from bundle.data.stores import LazyImage, is_store, open_lazily, store_name
from bundle.geometry import BlockPlan, Geometry, TilePlan, Turn, geometry_of
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.precision import resolve_precision
from bundle.inference.probability import require_stored_type
from bundle.large.executor import Executor, Serial, Task, run_blocks, torch_threads
from bundle.large.forecast import require_disk, sizes_text, tell_plan
from bundle.large.gray import GrayValues, StandardizedImage, measure, require_unchanged
from bundle.large.job import Job, machine
from bundle.large.label_image import KindsOfCells, label_image, label_type
from bundle.large.probability import ProbabilityBlocks
from bundle.large.pyramid import build_pyramid
from bundle.large.result_store import Layout, ResultStore
from bundle.model import TrainedNetwork

__all__ = ["LargeImages"]

logger = logging.getLogger(__name__)

#: px along an axis for which the cheapest tile is looked for: beyond, the choice takes long and the edges say little
_ENOUGH = 16384
#: bytes of a process with torch and MONAI that does nothing yet
_PROCESS = 600 * 2**20


class LargeImages:
    """Segments images that are larger than memory, as ``configs/inference.json`` segments the others.

    The probability of an image is to the bit that of :class:`OverlapTileInferer` over the whole image with the same
    tile size, device, number of threads and packages, for any block size.

    Args:
        paths: of stores and TIFFs.
        output_dir: gets ``NAME_segmentation.ome.zarr`` of each.
        trained: the network's file.
        predictor: the network in its backend, on ``device``.
        inferer: with tile size, precision, bound of memory and test-time augmentation.
        channels: that the network takes.
        device: where it runs.
        find_classes: of a network of several classes, how they are read; None: there is one kind of cell.
        robust: of the standardisation.
        context_slices: neighbours on each side that a slice is shown with.
        level, pixel_size, missing: see :func:`bundle.data.stores.open_lazily`.
        block_size: px, see :class:`bundle.geometry.BlockPlan`.
        probability_dtype: "float32", "float16" or "uint8".
        ome_zarr: version of the result, "0.5" or "0.4".
        plan: only say what would be done.
        cells: how cells are read off the stored probability.
        spacing: of volumes, µm, instead of what the image states.
        executor: where blocks are computed; None: one after the other in this process.

    Raises:
        ValueError: for options that are not allowed.
    """

    def __init__(
        self,
        paths: Sequence[str],
        output_dir: str | os.PathLike[str],
        trained: TrainedNetwork,
        predictor: nn.Module,
        inferer: OverlapTileInferer,
        channels: Channels,
        device: torch.device | str = "cpu",
        find_classes: FindClassesd | None = None,
        robust: bool = False,
        context_slices: int = 0,
        level: int | None = None,
        pixel_size: float | None = None,
        missing: str = "error",
        block_size: int | Sequence[int] | None = None,
        probability_dtype: str = "float32",
        ome_zarr: str | float = "0.5",
        plan: bool | str = False,
        cells: CellOptions | None = None,
        spacing: Sequence[float] | None = None,
        executor: Executor | None = None,
    ) -> None:
        # absolute: workers may be elsewhere
        self.paths, self.output_dir = [os.path.abspath(path) for path in paths], Path(output_dir).absolute()
        self.executor = executor or Serial()
        self.trained, self.predictor, self.inferer = trained, predictor, inferer
        self.channels, self.device = channels, torch.device(device)
        self.level, self.pixel_size, self.missing = level, pixel_size, missing
        self.block_size, self.dtype = block_size, probability_dtype
        self.version, self.plan_only = str(ome_zarr), true_or_false(plan, "plan")
        self.cells, self.spacing = cells or CellOptions(), spacing
        self._summary_begun = False
        require_stored_type(probability_dtype)
        if self.version not in ("0.4", "0.5"):
            raise ValueError(f"ome_zarr must be 0.5 or 0.4, got {ome_zarr!r}")
        self.robust, self.context_slices = robust, context_slices
        self.find_classes = find_classes or FindClassesd()

    def run(self, others: Callable[[], object] | None = None) -> None:
        """Segment all images, those that are small enough first.

        Args:
            others: segments these; None: there are none.

        Raises:
            RuntimeError: at the end, naming the images that are not done, and why.
        """
        failed: list[str] = []
        if others is not None and not self.plan_only:
            if not self.paths:
                others()
                return
            try:
                self._summary_begun = True
                others()
            except RuntimeError as error:
                failed.append(str(error))
        names: dict[str, str] = {}
        with closing(self.executor):
            for path in self.paths:
                try:
                    name = store_name(Path(path)) if is_store(Path(path)) else stem(path)
                    if names.setdefault(name, path) != path:
                        raise ImageError(
                            path, f"its results would have the same name as those of {names[name]}: rename one"
                        )
                    self._segment(path, name)
                except (ImageError, RuntimeError) as error:
                    logger.error("%s", error)
                    failed.append(str(error) if isinstance(error, ImageError) else f"{path}: {error}")
        if failed:
            raise RuntimeError("; ".join(failed))

    def _segment(self, path: str, name: str) -> None:
        trained = self.trained.card.get("image", {}).get("spacing")
        image = open_lazily(path, self.level, self.pixel_size, self.missing, trained)
        axes = getattr(self.predictor, "spatial_dims", None) or 2
        if len(image.size) < axes:
            raise ImageError(path, f"it has {len(image.size)} axes, the network works on volumes")
        slices = image.size[2] if len(image.size) > axes else None
        if self.context_slices and slices is None:
            raise ImageError(path, said_of_no_stack(self.context_slices))
        if self.output_dir.resolve() == Path(path).resolve().parent:
            raise ImageError(path, f"output_dir is its own folder: {self.output_dir / 'segmentation'} would do, say")
        with torch.no_grad():
            self.trained.load(getattr(self.predictor, "module", self.predictor))
        self.predictor.eval()
        require_writable(self.output_dir)
        job = Job(self.output_dir, name, path)
        note = job.note()
        plan = self._plan(image, axes, None if note is None else note["fingerprint"])
        layout = self._layout(image, plan, slices)
        if self.plan_only:
            run = self.inferer.runner(self.predictor, self.device)
            with torch_threads(self.executor.threads):
                tell_plan(image, plan, slices, layout, run, self._one_tile(plan), len(self._turns(plan)))
            require_disk(path, layout, self.output_dir)
            return
        fingerprint = self._fingerprint(image, plan)
        with job.alone():
            if note is None:
                require_disk(path, layout, self.output_dir)
            store = job.open(fingerprint, layout)
            if not store.note["probability"]:
                self._probability(job, store, image, plan, slices)
                store.note = {**store.note, "probability": True}
            self._cells(job, store, image, plan, slices)
            job.remove_interim()
        self._summarise(store)
        logger.info("%s -> %s", path, job.path)

    def _cells(self, job: Job, store: ResultStore, image: LazyImage, plan: BlockPlan, slices: int | None) -> None:
        """Of the stored probability; again where they are to be read otherwise than before."""
        spacing = tuple(self.spacing) if self.spacing else image.spacing
        kinds = self._kinds(len(plan.plan.image_size))
        wanted = {**kinds.told(), "spacing of sizes": str(spacing)}
        before = store.note["cells"]
        if before is not None and before["options"] == wanted:
            logger.info("%s is complete: nothing is left to do", job.path)
            return
        store.note = {**store.note, "cells": None}
        table = job.path.with_name(f"{job.path.name.removesuffix('.ome.zarr')}_cells.csv")
        layout = self._layout(image, plan, slices)
        row = label_image(job, store, layout, plan, slices, kinds, spacing, table)
        store.note = {**store.note, "cells": {"options": wanted, "summary": row}}
        logger.info("%s: %s cells", job.path, row["cells"])

    def _summarise(self, store: ResultStore) -> None:
        """Add the row of an image to those of this run."""
        row = store.note["cells"]["summary"]
        append_csv(self.output_dir / "summary.csv", tuple(row), [tuple(row.values())], fresh=not self._summary_begun)
        self._summary_begun = True

    def _probability(self, job: Job, store: ResultStore, image: LazyImage, plan: BlockPlan, slices: int | None) -> None:
        known = job.remembered("gray")
        by_slice = slices is not None
        gray = GrayValues.from_json(known) if known else measure(image, self.channels, by_slice, self.robust)
        if known is None:
            job.remember("gray", gray.as_json())
        else:
            require_unchanged(image, gray)
        levels = store.levels()
        source = StandardizedImage(image, self.channels, gray, self.context_slices)
        run = self.inferer.runner(self.predictor, self.device)
        turned = self._turns(plan), self.inferer.read, self._layout(image, plan, slices).class_axis
        blocks = ProbabilityBlocks(source, plan, slices, run, self.device, levels[0], self.dtype, *turned)

        def require_there() -> None:
            store.require_there()
            if not Path(image.path).exists():
                raise FileNotFoundError(f"{image.path} has gone")

        task = Task(
            *("probability", len(blocks), blocks, job.markers("probability"), require_there),
            memory=self._memory(image, plan),
            made_by=tuple(machine(self.device, self.executor.threads).items()),
        )
        before = run_blocks(task, self.executor)
        if before:
            logger.info("%s: %d of %d blocks had been done before", job.path, before, len(blocks))
        build_pyramid(levels, job.markers("pyramid"), mean=True)

    def _plan(self, image: LazyImage, axes: int, begun: dict[str, str] | None) -> BlockPlan:
        """With the tiles and blocks of a job that was begun, where no others are asked for."""
        size = image.size[:axes]
        tile: Any = self.inferer.tile_size or (begun and _numbers(begun["tile_size"]))
        if tile is None:
            some = tuple(min(n, _ENOUGH) for n in size)
            tile = self.inferer.choose_tile(some, self._shown, self.predictor, self.device, images=0)
        plan = self._geometry.plan(size, tile)
        return BlockPlan(plan, self.block_size or (_numbers(begun["block_size"]) if begun else None))

    @property
    def _geometry(self) -> Geometry:
        return self.inferer.geometry or geometry_of(self.predictor)

    @property
    def _shown(self) -> int:
        """Channels that the network sees."""
        return (self.channels.count or 1) * (2 * self.context_slices + 1)

    def _memory(self, image: LazyImage, plan: BlockPlan) -> float:
        """Bytes that a process takes that computes blocks, about: Python, network, a tile, and a block's pixels."""
        weights: int = sum(tensor.nbytes for tensor in self.predictor.state_dict().values())
        tile = self.inferer.tile_memory(plan.plan.tile_size, self._shown, self.predictor, self.device)
        pixels = math.prod(stop - start for start, stop in plan[0].input)
        outputs = len(self.find_classes.names or ("cell",))
        return _PROCESS + 2 * weights + tile + pixels * (image.stated.count + 3 * self._shown + 3 * outputs) * 4

    def _one_tile(self, plan: BlockPlan) -> torch.Tensor:
        return torch.zeros((1, self._shown, *plan.plan.tile_size), device=self.device)

    def _turns(self, plan: BlockPlan) -> list[tuple[Turn, TilePlan]]:
        return self.inferer.turns(self._geometry, plan.plan)

    def _kinds(self, axes: int) -> KindsOfCells:
        options, classes = replace(self.cells, spatial_dims=axes), self.find_classes
        each = classes.options if classes.names and classes.of_pixels else ()
        return KindsOfCells(options, tuple(classes.names or ()), tuple(replace(one, spatial_dims=axes) for one in each))

    def _layout(self, image: LazyImage, plan: BlockPlan, slices: int | None) -> Layout:
        chunks = plan.chunk_sizes if slices is None else (*plan.chunk_sizes, 1)
        kinds = self._kinds(len(plan.plan.image_size))
        labels = label_type(math.prod(image.size), kinds)
        return Layout(
            image.size, image.slice_axis, image.spacing, chunks, self.dtype, self.version, kinds.names, labels
        )

    def _fingerprint(self, image: LazyImage, plan: BlockPlan) -> dict[str, str]:
        """What decides about every bit of the result."""
        return {
            **{f"image {key}": str(value) for key, value in image.pixels.identity().items()},
            "network": atomic.sha256(self.trained.path),
            "channels": str(self.channels.select),
            "standardize": "robust" if self.robust else "mean and deviation",
            "context_slices": str(self.context_slices),
            "classes": ", ".join(self.find_classes.names or ("cell",)),
            "tta": self.inferer.tta,
            "tile_size": sizes_text(plan.plan.tile_size),
            "block_size": sizes_text(plan.sizes),
            "probability_dtype": self.dtype,
            "ome_zarr": self.version,
            "missing": self.missing,
            "precision": resolve_precision(self.inferer.precision, self.device, self.predictor),
            "backend": str(getattr(self.predictor, "backend", "eager")),
            **machine(self.device, self.executor.threads),
        }


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(" x ")]
