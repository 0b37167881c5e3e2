"""Three kinds of objects: two channels, the truth, what was found, and the confusion matrix.

With the data, the network and the evaluation of docs/results/classes.md::

    python docs/figures/classes.py data/classes runs/two-channels/best.pt output/classes
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import tifffile
from drawing import IMAGES, save
from matplotlib.figure import Figure
from PIL import Image

from bundle.cells.classes import likeliest_classes
from bundle.cells.instances import probability_to_instances
from bundle.data.load_slice import LoadSlice
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork
from bundle.output.class_pictures import class_colours, confusion_picture, legend_patches
from bundle.output.overlay import overlay
from transforms import Standardize


def found(checkpoint: str, image: Path) -> tuple[np.ndarray, np.ndarray]:
    """Cells (rows, columns) and the class of each at its number."""
    trained = TrainedNetwork(checkpoint)
    network = trained.load().eval()
    pixels = Standardize()(LoadSlice()(str(image)))
    probability = OverlapTileInferer(probability_of="all")(pixels[None], network)[0].numpy()
    cells = probability_to_instances(probability[1:].sum(0).clip(0, 1), trained.cell_options())
    return cells.T, likeliest_classes(cells, probability)


def main(data: str, checkpoint: str, evaluation: str) -> None:
    name = "025.tif"
    test = Path(data) / "test"
    names = TrainedNetwork(checkpoint).classes.names
    image, label = tifffile.imread(test / "image" / name), tifffile.imread(test / "label" / name)
    truth = np.zeros(label.max() + 1, int)
    truth[label] = tifffile.imread(test / "class" / name)
    cells, table = found(checkpoint, test / "image" / name)
    colours = class_colours(len(names))

    def drawn(objects: np.ndarray, of: np.ndarray) -> np.ndarray:
        large = (array.repeat(3, 0).repeat(3, 1) for array in (image[0], objects))
        return overlay(*large, fill=0.35, width=3, of_cells=colours[of])

    parts = {"channel 0": image[0], "channel 1": image[1]}
    parts |= {"true classes": drawn(label, truth), "found": drawn(cells, table)}
    figure = Figure(figsize=(12, 3.9), dpi=90, layout="constrained")
    for axes, (title, array) in zip(figure.subplots(1, 4), parts.items(), strict=True):
        axes.imshow(array, cmap="gray")
        axes.set_title(title, fontsize=11)
        axes.axis("off")
    handles = legend_patches(names)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(names), fontsize=10, frameon=False)
    save(figure, "classes")
    with open(Path(evaluation) / "confusion.csv", newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    confusion = confusion_picture(np.array([row[1:] for row in rows], int), names)
    Image.fromarray(confusion).save(IMAGES / "classes_confusion.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
