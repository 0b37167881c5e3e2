"""Blocks of a large image: two workers of dask beside two bare processes, and what dask takes for each block."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
import torch
from scipy import ndimage

from benchmarks.large_samples import new_ome_zarr
from benchmarks.targets import at_least
from benchmarks.timing import Options, Table, interleave, timing_table
from bundle.cells import CellOptions
from bundle.data.channels import Channels
from bundle.data.stores import open_lazily
from bundle.geometry import BlockPlan, ValidGeometry
from bundle.inference.backends import prepare_network
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.large.cluster import Cluster
from bundle.large.executor import Executor, Serial, Task, run_blocks, torch_threads
from bundle.large.gray import StandardizedImage, measure
from bundle.large.job import Job
from bundle.large.label_image import KindsOfCells, label_image
from bundle.large.markers import Markers
from bundle.large.probability import ProbabilityBlocks
from bundle.large.pyramid import build_pyramid
from bundle.large.result_store import Layout, ResultStore
from bundle.networks import UNet

_MIB = 2**20
_taken: Task  # of a bare process


def run(options: Options, side: int = 3072, width: int = 16, empty: int = 4000) -> Iterator[Table]:
    """Two tables: time of the same blocks; time of blocks in which nothing is computed.

    Args:
        side: px of the image; blocks of 768 px, each of four tiles of 572 px.
        width: of the network.
        empty: blocks in which nothing is computed.
    """
    with tempfile.TemporaryDirectory() as name, closing(Cluster("local", 2)) as cluster:
        folder = Path(name)
        task = _task(folder, side, width, options.seed)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, spawn, initializer=_take, initargs=(cloudpickle.dumps(task),)) as bare:
            rounds = iter(range(1000))
            contenders = {
                "two bare processes": lambda: list(bare.map(_half, [f"bare{next(rounds)}"] * 2, range(2))),
                "two workers": lambda: run_blocks(_again(task, f"dask{next(rounds)}"), cluster),
            }
            timings = interleave(contenders, options.few)
        ratio = 1 / timings["two workers"].ratio
        targets = [at_least("throughput of two workers", "two bare processes", ratio, 0.95)]
        title = f"{task.count} blocks of 768 x 768 px, width {width}, one thread each"
        yield timing_table(title, timings, targets)
        yield Table(f"blocks of which nothing is computed, {empty} of 1,000,000", *_overhead(folder, cluster, empty))
        rows = _passes(folder, options.base_channels)
        yield Table("CPU of the steps of a large image, for benchmarks.cluster_model", ("", "s"), rows)


def _task(folder: Path, side: int, width: int, seed: int) -> Task:
    pixels = np.random.default_rng(seed).integers(0, 4000, (side, side), np.uint16)
    new_ome_zarr(folder / "image.zarr", side, 512, "uint16")[:] = pixels
    image = open_lazily(folder / "image.zarr")
    torch.manual_seed(seed)
    network = prepare_network(UNet(2, 1, 2, base_channels=width, norm="batch").eval())
    plan = BlockPlan(ValidGeometry(4).plan(image.size, 572), 768)
    layout = Layout(image.size, "", None, plan.chunk_sizes, "uint8", "0.5")
    store = ResultStore.create(folder / "result.zarr", layout, {})
    source = StandardizedImage(image, Channels(), measure(image, Channels(), False))
    tiles = OverlapTileInferer(572, precision="auto", probability_of=1).runner(network, torch.device("cpu"))
    blocks = ProbabilityBlocks(source, plan, None, tiles, torch.device("cpu"), store.levels()[0], "uint8")
    return Task("probability", len(plan), blocks, Markers(folder, "none"), store.require_there)


def _again(task: Task, name: str) -> Task:
    """The task with nothing done."""
    return replace(task, markers=Markers(task.markers.folder.parent, name))


def _take(task: bytes) -> None:
    """In a bare process: keep the task whose blocks it does."""
    global _taken
    _taken = cloudpickle.loads(task)


def _half(name: str, first: int) -> None:
    """In a bare process: every second block."""
    for _ in Serial(1).run(_again(_taken, name), range(first, _taken.count, 2)):
        pass


def _nothing(number: int) -> None:
    pass


def _overhead(folder: Path, cluster: Cluster, empty: int) -> tuple[Sequence[str], list[list[str]]]:
    rows = []
    executors: dict[str, Executor] = {"in this process": Serial(1), "two workers": cluster}
    for name, executor in executors.items():
        start = time.perf_counter()
        plan = BlockPlan(ValidGeometry(4).plan((384_000, 384_000), 572), 384)
        task = Task("empty", len(plan), partial(_nothing), Markers(folder, f"empty {name}"), os.getcwd)  # type: ignore[arg-type]
        todo = np.flatnonzero(~task.markers.done(task.count))
        with closing(executor.run(task, map(int, todo))) as records:
            next(records)
            planned, memory = time.perf_counter() - start, _resident()
            began = _clocks()
            for _ in range(empty):
                next(records)
            each = [(after - before) / empty for before, after in zip(began, _clocks(), strict=True)]
        cells = [f"{planned:.2f}", *(f"{1000 * seconds:.2f}" for seconds in each)]
        rows.append([name, f"{len(plan):,}", *cells, f"{(_resident() - memory) / _MIB:+.1f}"])
    columns = ("", "blocks", "s until the first is done", "ms a block", "of CPU in this process", "MiB more afterwards")
    return columns, rows


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _passes(folder: Path, width: int, side: int = 2048) -> list[list[str]]:
    """CPU s, since other processes may run: a tile of one thread, and the passes of one process for a million px."""
    image = open_lazily(folder / "image.zarr")
    network = UNet(2, 1, 2, base_channels=width, norm="batch").eval()
    tiles = OverlapTileInferer(572, precision="auto", probability_of=1).runner(network, torch.device("cpu"))
    tile, voxels = torch.rand(1, 1, 572, 572), torch.rand(1, 1, 172, 172, 172)
    volumes = UNet(3, 1, 2, base_channels=16, depth=3, norm="batch").eval()
    tiles_3d = OverlapTileInferer(172, precision="auto", probability_of=1).runner(volumes, torch.device("cpu"))
    plan = BlockPlan(ValidGeometry(4).plan((side, side), 572))
    layout = Layout((side, side), "", None, plan.chunk_sizes, "uint8", "0.5")
    store = ResultStore.create(folder / "cells.zarr", layout, {})
    levels, grid = store.levels(), 16
    one = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(side // grid,) * 2), 4, mode="wrap")
    levels[0][:] = np.tile(np.clip(128 + 60 * one / one.std(), 0, 255).astype(np.uint8), (grid, grid))
    job = Job(folder, "cells", "cells.zarr")
    million, rows = side**2 / 1e6, []

    def cells(name: str, **options: Any) -> dict[str, Any]:
        kinds = KindsOfCells(CellOptions(**options))
        found = label_image(job, store, layout, plan, None, kinds, None, folder / f"{name}.csv")
        rows.append([f"cells in {million:.0f} million px, {name}", f"{found['cells']:,}"])
        return found

    steps: dict[str, tuple[float, Any]] = {
        f"tile of 572 px, width {width}": (1, lambda: tiles(tile)),
        "tile of 172 voxels, width 16, depth 3": (1, lambda: tiles_3d(voxels)),
        "gray values, a million px": (np.prod(image.size) / 1e6, lambda: measure(image, Channels(), False)),
        "pyramid, a million px": (million, lambda: build_pyramid(levels, job.markers("pyramid"), mean=True)),
        "cells by threshold, a million px": (million, lambda: cells("threshold")),
        "cells extended and split, a million px": (
            million,
            lambda: cells("split", low_threshold=0.4, split_by="distance", split_distance=3),
        ),
    }
    for name, (amount, step) in steps.items():
        with torch_threads(1):
            start = time.process_time()
            step()
            rows.append([name, f"{(time.process_time() - start) / amount:.3g}"])
    return rows


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)
