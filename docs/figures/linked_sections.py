"""Draw docs/images/linked.png, cells of serial sections linked into volumes, and print the table of the largest.

``python docs/figures/linked_sections.py data/isbi2012`` takes the 30 test slices and the shipped network.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from drawing import ROOT, save
from matplotlib.figure import Figure

from bundle.cells import link_slices, probability_to_instances
from bundle.data.load_slice import LoadSlice
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork
from bundle.output.overlay import cell_colours, overlay
from transforms import Standardize

MODEL = ROOT / "models" / "em_membranes.pt"
#: slices that are drawn, and µm of a voxel
SHOWN, VOXEL = range(10, 15), 0.004 * 0.004 * 0.05
SHARES = (0.5, 0.7, 0.9)


def cells_of(stack: np.ndarray) -> np.ndarray:
    """(x, y, slices) cells of each slice, found by the shipped network in one pass."""
    trained = TrainedNetwork(str(MODEL))
    network, inferer = trained.load().eval(), OverlapTileInferer(stack_axis=-1, probability_of=1)
    given = torch.as_tensor(np.asarray(Standardize(spatial_dims=2)(stack)))[None]
    probability = inferer(given, network)[0, 0].numpy()
    return probability_to_instances(probability, trained.cell_options(), threshold=0.9, min_size=100, spatial_dims=2)


def main(folder: Path) -> None:
    stack = np.asarray(LoadSlice(spatial_dims=3)(str(folder / "test-volume.tif")))
    cells = cells_of(stack)
    linked = {share: link_slices(cells, share) for share in SHARES}
    print("| share | volumes | in one slice only | through all slices | voxels of the largest, of all in cells |")
    for share, volumes in linked.items():
        present = np.zeros((volumes.max() + 1, volumes.shape[2]), bool)
        for k in range(volumes.shape[2]):
            present[np.unique(volumes[..., k]), k] = True
        through = present[1:].sum(axis=1)
        voxels = np.bincount(volumes.ravel())[1:]
        counts = f"{len(voxels)} | {(through == 1).sum()} | {(through == volumes.shape[2]).sum()}"
        print(f"| {share} | {counts} | {100 * voxels.max() / voxels.sum():.0f} % |")
        for number in np.argsort(-voxels)[:5]:
            size = f"{voxels[number]:,} voxels | {voxels[number] * VOXEL:.2f} µm³"
            print(f"|  | {number + 1} | {through[number]} slices | {size} |")
    draw(stack[0], linked[float(sys.argv[2]) if len(sys.argv) > 2 else 0.7])


def draw(image: np.ndarray, volumes: np.ndarray) -> None:
    """Neighbouring slices side by side: a volume has one colour in all of them."""
    colours = cell_colours(np.concatenate([np.pad(volumes[..., k].T, ((0, 12), (0, 0))) for k in SHOWN]))
    figure = Figure(figsize=(2.5 * len(SHOWN), 2.7), dpi=110, layout="constrained")
    for ax, k in zip(figure.subplots(1, len(SHOWN)), SHOWN, strict=True):
        numbers = volumes[..., k].T
        ax.imshow(overlay(image[..., k].T, numbers, fill=0.45, of_cells=colours))
        ax.set_title(f"slice {k}")
        ax.set_axis_off()
    save(figure, "linked")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
