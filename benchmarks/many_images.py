"""Segmenting many images by the command's own config, beside the network alone: what reading and writing add."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from monai.bundle import ConfigParser

from benchmarks.samples import cells, gray
from benchmarks.targets import at_most
from benchmarks.timing import Options, Table, digits, require
from bundle.output.overlay import outlines

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "em_membranes.pt"
NETWORK, THREADS, ONE_BY_ONE = "the network alone", "reading ahead, writing in a thread", "one after the other"
#: what makes the command do one thing at a time
_IN_TURN = {"evaluator#postprocessing": "@postprocess_image", "dataset#alone": "$lambda path: True"}


def run(options: Options, count: int | None = None, size: int = 512) -> Iterator[Table]:
    """One table: ``count`` images of ``size`` px (20, with ``full`` 100) and the published network of width 16.

    All results are written. The start and the preparation of the network are not timed. "CPU" is that of the whole
    process: with a free core for the thread, the time is that of the network as long as the rest takes less.
    """
    count = count or (100 if options.full else 20)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for number in range(count):
            drawn = cells(size, max(4, 120 * size**2 // 512**2), options.seed + number)
            picture = gray(np.where(outlines(drawn, 2), 0, drawn), options.seed + number)  # membranes between cells
            tifffile.imwrite(images / f"{number:03}.tif", np.rint(60 * picture + 80).clip(0, 255).astype(np.uint8))
        settings = {"dataset_dir": str(images), "checkpoint": str(MODEL), "bundle_root": str(ROOT)}
        prepared = _parser(settings | {"output_dir": f"{folder}/none"})
        network, predictor, inferer = (
            prepared.get_parsed_content(name) for name in ("network", "predictor", "inferer")
        )
        prepared.get_parsed_content("trained").load(network)
        predictor.eval()
        inputs = [
            prepared.get_parsed_content("preprocessing")(item)["image"].as_tensor()[None]
            for item in prepared.get_parsed_content("items")
        ]
        inferer(inputs[0], predictor)

        def command(name: str, **changes: Any) -> Callable[[], object]:
            output = {"output_dir": f"{folder}/{name}", "predictor": predictor, "network": network}
            work: Callable[[], object] = _parser(settings | output | changes).get_parsed_content("finish")
            return work

        contenders: Mapping[str, Callable[[], Callable[[], object]]] = {
            NETWORK: lambda: lambda: [inferer(image, predictor) for image in inputs],
            THREADS: lambda: command("threads"),
            ONE_BY_ONE: lambda: command("in_turn", **_IN_TURN),
        }
        wall, cpu = _timed(contenders, options.few)
        found = {name: (Path(folder) / name / "cells.csv").read_bytes() for name in ("threads", "in_turn")}
        require(found["threads"] == found["in_turn"], "the tables of cells differ")
        total = found["threads"].count(b"\n") - 1
    ratios = {name: np.median(np.divide(wall[name], wall[NETWORK])) for name in contenders}
    rows = [
        [name, *(digits(1000 * float(np.median(each[name])) / count) for each in (wall, cpu)), digits(ratios[name])]
        for name in contenders
    ]
    part = f"{count} images of {size} px, width 16, {predictor.backend}, {torch.get_num_threads()} thread(s)"
    target = at_most(part, NETWORK, float(ratios[THREADS]), 1.1)
    title = f"{part}, {total / count:.0f} cells an image"
    yield Table(title, ("", "ms an image", "CPU ms an image", "ratio"), rows, [target])


def _timed(
    contenders: Mapping[str, Callable[[], Callable[[], object]]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each round by the clock, and of CPU; in turns, what prepares them untimed."""
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, prepare in contenders.items():
            work = prepare()
            start, used = time.perf_counter(), time.process_time()
            work()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - used)
    return wall, cpu


def _parser(settings: Mapping[str, Any]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "inference.json"))
    parser.update(dict(settings))
    return parser
