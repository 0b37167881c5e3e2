"""Draw images/nuclei.png, nuclei that the shipped network finds in held-out images and the true ones in yellow, and
images/nuclei_cover.png, the cover of its package.

``python docs/figures/nuclei.py data/dsb2018`` needs the folder of the images, with image/ and label/.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))

from paper_figures import ROOT, found_in, read
from transform_pictures import save

from bundle.output.overlay import overlay, stretch

MODEL = ROOT / "models" / "nuclei.pt"
#: held out by configs/experiments/nuclei.json; of each kind of image one, the last one is the worst
IMAGES = ("037", "045", "059", "013")


def main(folder: Path) -> None:
    figure = Figure(figsize=(10.4, 5.5), dpi=110, layout="constrained")
    for column, name in zip(figure.subplots(2, len(IMAGES)).T, IMAGES, strict=True):
        image = read(folder / "image" / f"{name}.tif")
        truth = read(folder / "label" / f"{name}.tif", label=True)
        cells = found_in(image, str(MODEL))
        pictures = stretch(image), overlay(image, cells, fill=0.5, truth=truth, width=1)
        titles = f"image {name}", f"found {cells.max()}, true {len(set(truth[truth > 0].tolist()))}"
        for ax, picture, title in zip(column, pictures, titles, strict=True):
            ax.imshow(picture, cmap="gray", interpolation="nearest")
            ax.set(title=title, xticks=[], yticks=[])
    save(figure, "nuclei")
    cover(read(folder / "image" / f"{IMAGES[1]}.tif"))


def cover(image: np.ndarray) -> None:
    """A held-out image beside what is found in it, 2:1."""
    gray = (stretch(image) * 255).round().astype(np.uint8)
    found = overlay(image, found_in(image, str(MODEL)), fill=0.5, width=1)
    picture = Image.fromarray(np.concatenate([gray, found], axis=1))
    picture.save(ROOT / "docs" / "images" / "nuclei_cover.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
