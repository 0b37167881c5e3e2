"""Segments images block by block: plans a job, begins it or goes on with it, and says what came of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from bundle.atomic import require_writable
from bundle.cells import CellOptions, FindClassesd
from bundle.console import own_cause, true_or_false
from bundle.data.channels import Channels
from bundle.data.context import said_of_no_stack
from bundle.data.errors import ImageError, shortage
from bundle.data.formats import stem
from bundle.data.spacing import warn_of_other_spacing
from bundle.data.stores import is_store, open_lazily, store_name
from bundle.inference.made_by import made_by
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.probability import require_stored_type
from bundle.large.executor import Executor, Serial
from bundle.large.forecast import require_disk
from bundle.large.image_in_blocks import ImageInBlocks, fingerprint
from bundle.large.job import Job
from bundle.large.page_entry import show
from bundle.large.settings import Settings
from bundle.model import TrainedNetwork
from bundle.output.growing_table import GrowingTable
from bundle.output.result_page import ResultPage

logger = logging.getLogger(__name__)


class LargeImages:
    """Segments images that are larger than memory, as ``configs/inference.json`` segments the others.

    The probability of an image is to the bit that of :class:`OverlapTileInferer` over the whole image with the same
    tile size, device, number of threads and packages, for any block size.

    Args:
        paths: of stores and TIFFs.
        output_dir: gets ``NAME_segmentation.ome.zarr`` of each.
        trained: the network's file.
        predictors: the network in the backend of an image, see :class:`bundle.inference.backends.Predictors`.
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
        page: of the folder of results, which the images are added to; None: there is none.

    Raises:
        ValueError: for options that are not allowed.
    """

    def __init__(
        self,
        paths: Sequence[str],
        output_dir: str | os.PathLike[str],
        trained: TrainedNetwork,
        predictors: Callable[[Sequence[Sequence[int]], str | None], nn.Module],
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
        page: ResultPage | None = None,
    ) -> None:
        # absolute: workers may be elsewhere
        self.paths, self.output_dir = [os.path.abspath(path) for path in paths], Path(output_dir).absolute()
        self.level, self.pixel_size, self.plan_only = level, pixel_size, true_or_false(plan, "plan")
        self.page, self.predictors = page, predictors
        self._summary = GrowingTable(self.output_dir / "summary.csv")
        require_stored_type(probability_dtype)
        if str(ome_zarr) not in ("0.4", "0.5"):
            raise ValueError(f"ome_zarr must be 0.5 or 0.4, got {ome_zarr!r}")
        network = predictors([], None)
        self.settings = Settings(
            *(trained, network, inferer, channels, torch.device(device), find_classes or FindClassesd(), robust),
            *(context_slices, missing, block_size, probability_dtype, str(ome_zarr), cells or CellOptions(), spacing),
            executor or Serial(),
        )

    def run(self, others: Callable[[], object] | None = None) -> None:
        """Segment all images, those that are small enough first.

        Args:
            others: segments these; None: there are none.

        Raises:
            RuntimeError: at the end, naming the images that are not done, and why.
        """
        failed: list[str] = []
        if others is not None and not self.paths:
            if not self.plan_only:
                others()
            return
        # once, and before anything is prepared: whoever finds the weights written to prepares them anew
        self.settings.trained.load(getattr(self.settings.predictor, "module", self.settings.predictor))
        if others is not None and not self.plan_only:
            self._summary.path.unlink(missing_ok=True)  # rows of an earlier run are none of this one
            try:
                others()
            except RuntimeError as error:
                failed.append(str(error))
            self._summary.go_on()
        names: dict[str, str] = {}
        with closing(self.settings.executor):
            for path in self.paths:
                try:
                    name = store_name(Path(path)) if is_store(Path(path)) else stem(path)
                    if names.setdefault(name, path) != path:
                        raise ImageError(
                            path, f"its results would have the same name as those of {names[name]}: rename one"
                        )
                    self._segment(path, name)
                except (ValueError, RuntimeError, OSError, MemoryError) as error:
                    if (why := _told(path, error)) is None:
                        raise
                    if path != self.paths[-1]:  # else the end is now, and tells it
                        logger.error("%s", why)
                    failed.append(why)
        if failed:
            raise RuntimeError("; ".join(failed))

    def _segment(self, path: str, name: str) -> None:
        spacing = self.settings.trained.card.get("image", {}).get("spacing")
        image = open_lazily(path, self.level, self.pixel_size, self.settings.missing, spacing)
        settings = self.settings
        if len(image.size) < settings.axes:
            raise ImageError(path, f"it has {len(image.size)} axes, the network works on volumes")
        if settings.context_slices and len(image.size) == settings.axes:
            raise ImageError(path, said_of_no_stack(settings.context_slices))
        if self.output_dir.resolve() == Path(path).resolve().parent:
            raise ImageError(path, f"output_dir is its own folder: {self.output_dir / 'segmentation'} would do, say")
        job = Job(self.output_dir, name, path)
        note = job.note()
        begun = None if note is None else note["fingerprint"]
        # with the backend of its size, or of the job that it was begun with
        predictor = self.predictors([image.size], None if begun is None else begun.get("backend"))
        settings = replace(settings, predictor=predictor.eval())
        require_writable(self.output_dir)
        made_of = fingerprint(image, settings)
        if note is not None:  # before its tiles and blocks are taken over, which another network may not have
            job.require_same(note, {**note["fingerprint"], **made_of}, settings.trained.name)
        blocks = ImageInBlocks(image, settings, begun)
        if settings.axes == 3:
            warn_of_other_spacing(path, settings.spacing or blocks.spacing, spacing)
        if self.plan_only:
            blocks.tell_plan(job, note is not None and note["probability"])
            if note is None:
                require_disk(path, blocks.layout, self.output_dir)
            return
        with job.alone():
            if note is None:
                require_disk(path, blocks.layout, self.output_dir)
                job.forget()
            # before there is a store: an image that cannot be read leaves nothing
            gray = None if note is not None and note["probability"] else blocks.gray(job)
            store = job.open(made_of | blocks.sizes, blocks.layout, settings.trained.name)
            blocks.segment(job, store, gray)
            job.remove_interim()
        told = made_by(
            settings.trained, settings.predictor, settings.inferer.precision, settings.device, settings.kinds().words()
        )
        row = store.note["cells"]["summary"] | told
        self._summary.add(tuple(row), [tuple(row.values())])
        if self.page is not None:
            show(self.page, image, store, blocks.layout, name, told)
            self.page.write()
        logger.info("%s -> %s", path, job.path)


def _told(path: str, error: Exception) -> str | None:
    """Why an image could not be done, with its path; None for an error that nobody wrote for a person."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        again = "what is done is kept; make room, or connect the drive again, and repeat the command"
        return f"{path}: {shortage(error)}: {again}"
    own = error if isinstance(error, RuntimeError) else own_cause(error)
    return None if own is None else f"{path}: {own}"
