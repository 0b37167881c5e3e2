"""Memory and speed of an image that is segmented block by block, for several sizes, beside the same image in memory.

``python -m benchmarks.large_memory --sides 4096 8192 16384 --in_memory 4096`` makes OME-Zarr images of blobs and a
network of width 4 that finds them, segments them by configs/inference.json in processes of their own, and prints for
each the resident memory that a watcher saw (interpreter included, sampled every 0.1 s) and the time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
import zarr

from benchmarks.large_samples import INFERENCE, blobs, new_ome_zarr, small_network
from benchmarks.timing import cpu_of_children
from bundle.model import checkpoints

_CHUNK = 1024


def _write_blobs(path: Path, side: int) -> None:
    """An OME-Zarr 0.5 of blobs that repeat every 1000 px, uint8, in chunks of 1024 px."""
    block, array = blobs(), new_ome_zarr(path, side, _CHUNK)
    for y in range(0, side, _CHUNK):
        for x in range(0, side, _CHUNK):
            rows, columns = (np.arange(a, min(a + _CHUNK, side)) % len(block) for a in (y, x))
            array[y : y + _CHUNK, x : x + _CHUNK] = block[np.ix_(rows, columns)]


def watched(options: dict[str, Any]) -> tuple[list[tuple[float, int]], float, float]:
    """Run an inference, its blocks one after the other in one process.

    Returns:
        (seconds, bytes of resident memory) of the process every 0.1 s; the seconds it took; those of the processor.
    """
    began, before = time.monotonic(), cpu_of_children()
    options = {"cluster": "serial", **options}
    process = subprocess.Popen([sys.executable, "-c", INFERENCE, json.dumps(options)], cwd=Path(__file__).parent.parent)
    seen: list[tuple[float, int]] = []
    while process.poll() is None:
        with suppress(psutil.Error):  # it has just ended
            seen.append((time.monotonic() - began, psutil.Process(process.pid).memory_info().rss))
        time.sleep(0.1)
    if process.wait():
        raise RuntimeError(f"the inference ended with {process.returncode}")
    return seen, time.monotonic() - began, cpu_of_children() - before


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large_memory", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 8192], help="px, block by block")
    parser.add_argument("--in_memory", type=int, nargs="*", default=[], help="px, as a whole")
    parser.add_argument("--tile_size", type=int, default=508, help="px")
    parser.add_argument("--depth", type=int, default=4, help="of the network: 1 takes a tenth of the time")
    parser.add_argument("--option", nargs="*", default=[], help="of configs/inference.json, as cells#min_size=20")
    parser.add_argument("--curve", help="JSON file for all that the watcher saw")
    parser.add_argument("--folder", help="for images and results; default: one that is removed")
    options = parser.parse_args(arguments)
    curves = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        model = Path(folder, "model.pt")
        checkpoints.write(model, small_network(options.depth).state_dict())
        given = {key: json.loads(value) for key, _, value in (each.partition("=") for each in options.option)}
        ways = [(side, False) for side in options.in_memory] + [(side, True) for side in options.sides]
        for side, by_blocks in ways:
            image, out = Path(folder, f"{side}.zarr"), Path(folder, "out")
            _write_blobs(image, side)
            if not by_blocks:
                pixels: Any = zarr.open_group(image, mode="r")["0"]
                tifffile.imwrite(Path(folder, "whole.tif"), np.asarray(pixels[:]))
            source = str(image if by_blocks else Path(folder, "whole.tif"))
            fixed = {"dataset_dir": source, "output_dir": str(out), "checkpoint": str(model), "precision": "fp32"}
            more = {"tile_size": options.tile_size, "device": "$torch.device('cpu')", "by_blocks": "auto"}
            seen, seconds, processor = watched(fixed | more | given)
            curves[f"{side} {'by blocks' if by_blocks else 'in memory'}"] = seen
            with (out / "summary.csv").open() as file:
                cells = file.read().splitlines()[1].split(",")[4]
            print(
                f"{side} x {side} px {'by blocks' if by_blocks else 'in memory'}: peak "
                f"{max(each for _, each in seen) / 2**30:.3f} GiB, {seconds:.0f} s, "
                f"{processor:.0f} s of CPU, {side**2 / processor / 1e6:.2f} million px/s of CPU, {cells} cells",
                flush=True,
            )
            shutil.rmtree(out)
            shutil.rmtree(image)
    if options.curve:
        Path(options.curve).write_text(json.dumps(curves))


if __name__ == "__main__":
    main()
