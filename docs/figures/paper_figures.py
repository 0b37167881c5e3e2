"""Draw the paper's figures 2, 3 and 4 from real images and our own networks: docs/images/paper_*.png.

``python docs/figures/paper_figures.py data --hela runs/dic/best.pt --u373 runs/u373/best.pt`` needs the
folders isbi2012, DIC-C2DH-HeLa and PhC-C2DH-U373 in data/. Without a network of the cells, figure 4 is left as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from drawing import BLUE, ROOT, found_in, save
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bundle.data.load_slice import LoadSlice
from bundle.geometry import geometry_of
from bundle.model import TrainedNetwork
from bundle.output.overlay import overlay, stretch
from transforms import MirrorPad, SeparateTouching, Standardize, WeightMap

YELLOW, CYAN = "#ffd400", (0, 230, 230)
#: held-out slice of the shipped network; gold frames in the thirds of the films that --fold 0 and --fold 1 hold out
EM_SLICE, HELA_FRAME, U373_FRAME = 13, 21, 59


def read(file: Path, index: int | None = None, label: bool = False) -> np.ndarray:
    """Rows and columns of a gray image or a label."""
    return np.asarray(LoadSlice(label)(str(file), index))[0].T


def overlap_tile(data: Path, tile: int = 380) -> None:
    """Figure 2: what the network is shown for the yellow part of a slice, and what it says there."""
    slice_ = read(data / "isbi2012" / "train-volume.tif", EM_SLICE)
    network = TrainedNetwork(str(ROOT / "models" / "em_membranes.pt")).load().eval()
    geometry = geometry_of(network)
    margin, inner = geometry.margin, geometry.output_size(tile)
    padded = np.asarray(MirrorPad(margin)(slice_[None]))[0]
    shown = np.asarray(MirrorPad(margin)(np.asarray(Standardize()(torch.from_numpy(slice_.T[None])))))[0].T
    with torch.inference_mode():
        logits = network(torch.from_numpy(shown[:tile, :tile].T.copy())[None, None])
    figure = Figure(figsize=(9.6, 5.0), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(stretch(padded))
    side = len(slice_)
    left.add_patch(Rectangle((0, 0), tile, tile, fill=False, edgecolor=BLUE, lw=2.5))
    left.set_title(f"the image (dashed), mirrored; one tile's input, {tile} px")
    canvas = np.full(padded.shape, np.nan)
    canvas[margin : margin + inner, margin : margin + inner] = logits.softmax(1)[0, 1].numpy().T
    right.imshow(canvas, cmap="gray", vmin=0, vmax=1)
    right.set_title(f"the tile's output, {inner} px: probability of cell")
    right.set_facecolor("0.75")
    for ax in (left, right):
        ax.add_patch(Rectangle((margin, margin), side, side, fill=False, edgecolor="white", lw=1, ls="--"))
        ax.add_patch(Rectangle((margin, margin), inner, inner, fill=False, edgecolor=YELLOW, lw=2.5))
        ax.set(xticks=[], yticks=[])
    save(figure, "paper_overlap_tile")


def weight_map(data: Path) -> None:
    """Figure 3: a frame of HeLa cells, its cells, the mask with gaps between them, and the weights of the loss."""
    film = data / "DIC-C2DH-HeLa"
    image = read(film / "01" / f"t{HELA_FRAME:03d}.tif")
    cells = read(film / "01_ST" / "SEG" / f"man_seg{HELA_FRAME:03d}.tif", label=True).astype(np.int32)
    parted = np.asarray(SeparateTouching(2)(cells[None]))
    weights = np.asarray(WeightMap(w0=10, sigma=5)(parted))[0]
    figure = Figure(figsize=(11.4, 3.2), dpi=110, layout="constrained")
    axes = figure.subplots(1, 4)
    pictures = {
        "a  image": stretch(image),
        f"b  {len(np.unique(cells)) - 1} cells": overlay(image, cells, fill=0.45),
        "c  mask, touching cells parted": parted[0] > 0,
        "d  weight of each pixel": weights,
    }
    for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
        shown = ax.imshow(picture, cmap="jet" if picture is weights else "gray", interpolation="nearest")
        ax.set_title(title)
        ax.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[-1], fraction=0.046)
    save(figure, "paper_weight_map")


def results(data: Path, u373: str, hela: str) -> None:
    """Figure 4: cells found (U373 as a cyan mask, HeLa in random colours) and the gold truth in yellow."""
    figure = Figure(figsize=(11.6, 3.1), dpi=120, layout="constrained")
    axes = iter(figure.subplots(1, 4, width_ratios=[696 / 520, 696 / 520, 1, 1]))
    films = (("PhC-C2DH-U373", U373_FRAME, u373, "U373"), ("DIC-C2DH-HeLa", HELA_FRAME, hela, "HeLa"))
    for folder, frame, checkpoint, name in films:
        image = read(data / folder / "01" / f"t{frame:03d}.tif")
        truth = read(data / folder / "01_GT" / "SEG" / f"man_seg{frame:03d}.tif", label=True)
        cells = found_in(image.T[None], checkpoint, tta="d4").T
        cyan = np.vstack([np.zeros((1, 3)), np.tile(CYAN, (cells.max(), 1))])
        drawn = overlay(image, cells, fill=0.5, truth=truth, width=2, of_cells=cyan if name == "U373" else None)
        for picture, title in (
            (stretch(image), f"{name}, frame {frame}"),
            (drawn, f"found {cells.max()}, truth yellow"),
        ):
            ax = next(axes)
            ax.imshow(picture)
            ax.set_title(title)
            ax.set(xticks=[], yticks=[])
    save(figure, "paper_results")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--hela", help="network of HeLa cells that has not seen their frame")
    parser.add_argument("--u373", help="network of U373 cells that has not seen their frame")
    given = parser.parse_args()
    overlap_tile(given.data)
    weight_map(given.data)
    if given.hela and given.u373:
        results(given.data, given.u373, given.hela)


if __name__ == "__main__":
    main()
