"""A large image made of small public ones, segmented block by block: python docs/figures/mosaic.py DATA NETWORK FOLDER

DATA is a folder of nuclei (``bundle.data.download dsb2018``), NETWORK a checkpoint trained on them. The mosaic is no
slide: its pictures are cut to 256 x 256 px, turned and mirrored at random (seed 0), brought to one mean and deviation,
and repeat often. Draws docs/images/large_mosaic.png and prints the figures of docs/large_images.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from drawing import IMAGES
from matplotlib.figure import Figure

from benchmarks.large_memory import watched
from benchmarks.large_samples import new_ome_zarr
from bundle.output.overlay import overlay

SIDE, CUT, TILES = 20480, 256, 4


def cuts(folder: Path) -> list[np.ndarray]:
    """One of each image, 8 bit."""
    found = []
    for file in sorted((folder / "image").glob("*.tif")):
        gray = tifffile.imread(file).astype(np.float32)
        gray = gray[:CUT, :CUT]
        found.append(np.clip(60 + 40 * (gray - gray.mean()) / gray.std(), 0, 255).astype(np.uint8))
    return found


def write_mosaic(path: Path, parts: list[np.ndarray]) -> None:
    random = np.random.default_rng(0)
    side = CUT * TILES
    array = new_ome_zarr(path, SIDE, side)
    for y in range(0, SIDE, side):
        for x in range(0, SIDE, side):
            rows = []
            for _ in range(TILES):
                picked = [parts[number] for number in random.integers(len(parts), size=TILES)]
                turned = [np.rot90(part, random.integers(4))[:: random.choice([-1, 1])] for part in picked]
                rows.append(np.concatenate(turned, axis=1))
            array[y : y + side, x : x + side] = np.concatenate(rows)


def draw(folder: Path, curve: list[tuple[float, int]], target: Path) -> None:
    result: Any = zarr.open_group(folder / "out" / "mosaic_segmentation.ome.zarr", mode="r")
    image: Any = zarr.open_group(folder / "mosaic.zarr", mode="r")["0"]
    figure = Figure(figsize=(12, 3.4), dpi=80, layout="constrained")
    whole, part, probability, memory = figure.subplots(1, 4)
    whole.imshow(np.asarray(image[::32, ::32]), cmap="gray")
    whole.set_title("the mosaic, 20480 x 20480 px", fontsize=9)
    region = slice(10000, 10600), slice(10000, 10600)
    pixels, cells = np.asarray(image[region]), np.asarray(result["labels/cells/0"][region])
    part.imshow(overlay(pixels, cells.astype(np.int32), colours=False))
    part.set_title("cells, 600 x 600 px of it", fontsize=9)
    probability.imshow(np.asarray(result["0"][region]), cmap="gray")
    probability.set_title("probability of cell", fontsize=9)
    for axes in (whole, part, probability):
        axes.set_axis_off()
    seconds, used = np.array(curve).T
    memory.plot(seconds / 60, used / 2**30)
    memory.set(xlabel="minutes", ylim=(0, None))
    memory.set_title("resident memory, GiB", fontsize=9)
    figure.savefig(target)


def main(data: str, network: str, place: str) -> None:
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    parts = cuts(Path(data))
    write_mosaic(folder / "mosaic.zarr", parts)
    options = {"dataset_dir": str(folder / "mosaic.zarr"), "output_dir": str(folder / "out"), "checkpoint": network}
    options |= {"probability_dtype": "uint8", "precision": "fp32", "device": "$torch.device('cpu')", "tile_size": 524}
    curve, seconds, processor = watched(options)
    (folder / "curve.json").write_text(json.dumps([curve, seconds, processor]))
    peak = max(used for _, used in curve) / 2**30
    print(f"{len(parts)} images; {seconds / 60:.1f} minutes, {processor / 60:.1f} of CPU; peak {peak:.2f} GiB")
    print((folder / "out" / "summary.csv").read_text())
    draw(folder, curve, IMAGES / "large_mosaic.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
