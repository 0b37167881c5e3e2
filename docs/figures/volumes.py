"""Draw docs/images/volumes.png, a generated volume and what a network finds in it: ``python docs/figures/volumes.py``.

The network is one of configs/volumes.json: the file is the first argument, models/model.pt without one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent))

from transform_pictures import save

from bundle.cells import probability_to_instances
from bundle.data.volume_cells import draw_volume
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork
from bundle.output.overlay import overlay
from transforms import Standardize

SIZE, SEED = (96, 96, 64), [0, 8]  # the first volume of test/ that configs/volumes.json generates


def found_in(image: np.ndarray, file: str) -> np.ndarray:
    """Cells that a trained network finds in a volume."""
    trained = TrainedNetwork(file)
    network = trained.load().eval()
    volume = torch.as_tensor(Standardize(spatial_dims=3)(image[None].astype(np.float32)))[None]
    probability = OverlapTileInferer(max_memory="1 GiB", probability_of=1)(volume, network)[0, 0].numpy()
    return probability_to_instances(probability, trained.cell_options())


def main() -> None:
    image, truth = draw_volume(SIZE, SEED)
    found = found_in(image, sys.argv[1] if len(sys.argv) > 1 else "models/model.pt")
    figure = Figure(figsize=(10.5, 5.9), dpi=120, layout="constrained")
    planes = {"one slice (x, y)": np.s_[:, :, SIZE[2] // 2], "along the optical axis (x, z)": np.s_[SIZE[0] // 2]}
    rows = figure.subplots(2, 3, height_ratios=[SIZE[0], SIZE[2]])
    for row, (where, plane) in zip(rows, planes.items(), strict=True):
        gray, true, cells = (array[plane].repeat(6, 0).repeat(6, 1) for array in (image, truth, found))
        if where.endswith("z)"):
            gray, true, cells = gray.T, true.T, cells.T
        for ax, title, picture in zip(
            row,
            (f"image, {where}", f"truth: {truth.max()} nuclei in the volume", f"found: {found.max()}"),
            (gray, overlay(gray, true, width=3), overlay(gray, cells, width=3)),
            strict=True,
        ):
            ax.imshow(picture, cmap="gray")
            ax.set_title(title)
            ax.set_axis_off()
    save(figure, "volumes")


if __name__ == "__main__":
    main()
