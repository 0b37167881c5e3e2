"""Draw docs/images/volumes.png, a generated volume and what a network finds in it: ``python docs/figures/volumes.py``.

The network is one of configs/volumes.json: the file is the first argument, models/model.pt without one.
"""

from __future__ import annotations

import sys

import numpy as np
from drawing import found_in, save
from matplotlib.figure import Figure

from bundle.data.volume_cells import draw_volume
from bundle.output.overlay import overlay

SIZE, SEED = (96, 96, 64), [0, 8]  # the first volume of test/ that configs/volumes.json generates


def main() -> None:
    image, truth = draw_volume(SIZE, SEED)
    found = found_in(image[None], sys.argv[1] if len(sys.argv) > 1 else "models/model.pt")
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
