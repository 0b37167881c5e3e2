"""Draw images/nuclei.png, nuclei that the shipped network finds in held-out images and the true ones in yellow, and
images/nuclei_cover.png, the cover of its package.

``python docs/figures/nuclei.py data/dsb2018`` needs the folder of the images, with image/ and label/.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from drawing import IMAGES, ROOT, found_in, save
from matplotlib.figure import Figure
from paper_figures import read
from PIL import Image

from bundle.output.overlay import overlay, stretch

MODEL = ROOT / "models" / "nuclei.pt"
#: held out by configs/experiments/nuclei.json; of each kind of image one, the last one is the worst
NAMES = ("037", "045", "059", "013")


def main(folder: Path) -> None:
    figure = Figure(figsize=(10.4, 5.5), dpi=110, layout="constrained")
    for column, name in zip(figure.subplots(2, len(NAMES)).T, NAMES, strict=True):
        image = read(folder / "image" / f"{name}.tif")
        truth = read(folder / "label" / f"{name}.tif", label=True)
        cells = cells_of(image)
        pictures = stretch(image), overlay(image, cells, fill=0.5, truth=truth, width=1)
        titles = f"image {name}", f"found {cells.max()}, true {len(set(truth[truth > 0].tolist()))}"
        for ax, picture, title in zip(column, pictures, titles, strict=True):
            ax.imshow(picture, cmap="gray", interpolation="nearest")
            ax.set(title=title, xticks=[], yticks=[])
    save(figure, "nuclei")
    cover(read(folder / "image" / f"{NAMES[1]}.tif"))


def cells_of(image: np.ndarray) -> np.ndarray:
    return found_in(image.T[None], MODEL, tta="d4").T


def cover(image: np.ndarray) -> None:
    """A held-out image beside what is found in it, 2:1."""
    gray = (stretch(image) * 255).round().astype(np.uint8)
    found = overlay(image, cells_of(image), fill=0.5, width=1)
    picture = Image.fromarray(np.concatenate([gray, found], axis=1))
    picture.save(IMAGES / "nuclei_cover.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
