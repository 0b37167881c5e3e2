"""Stained tissue in which only colour tells nuclei from other cells, and how channels are shown.

``python docs/figures/channels.py data tissue`` draws the images. Train on them twice, by ``--run_name colour`` and by
``--run_name gray --channels luminance``::

    python -m monai.bundle run training --config_file configs/train.json --dataset_dir tissue --publish never
        --base_channels 8 --depth 3 --tile_size 156 --max_epochs 10 --samples_per_epoch 60 --best_by seg

``python docs/figures/channels.py picture tissue runs`` segments the test image and draws docs/images/channels.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tifffile
from drawing import IMAGES, found_in
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage as ndi

from bundle.data.load_slice import LoadSlice
from bundle.model import TrainedNetwork
from bundle.output.overlay import overlay, stretch

SIZE, COUNT = 192, 12
#: both have a luminance of 105
NUCLEUS, OTHER, TISSUE = np.array([110.0, 90, 170]), np.array([170.0, 81, 60]), np.array([232.0, 200, 218])


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour image (uint8), nuclei 1..N, and the other cells 1..M."""
    random = np.random.default_rng([2015, seed])
    y, x = np.mgrid[:SIZE, :SIZE]
    owner = np.zeros((SIZE, SIZE), int)
    for number in range(1, 41):
        (cy, cx), (a, b), angle = random.uniform(0, SIZE, 2), random.uniform(7, 12, 2), random.uniform(0, np.pi)
        u = (y - cy) * np.cos(angle) + (x - cx) * np.sin(angle)
        v = (x - cx) * np.cos(angle) - (y - cy) * np.sin(angle)
        inside = (u / a) ** 2 + (v / b) ** 2 < 1
        if not owner[ndi.binary_dilation(inside, iterations=2)].any():
            owner[inside] = number
    nuclei, others = (np.where(owner % 2 == odd, (owner + 1) // 2, 0) * (owner > 0) for odd in (1, 0))
    texture = ndi.gaussian_filter(random.normal(size=(SIZE, SIZE)), 5)
    image = TISSUE + 12 * (texture / texture.std())[..., None]
    for cells, colour in ((nuclei, NUCLEUS), (others, OTHER)):
        image[cells > 0] = colour
    image = ndi.gaussian_filter(image, (1, 1, 0)) + random.normal(0, 6, (SIZE, SIZE, 3))
    return np.clip(image, 0, 255).round().astype(np.uint8), nuclei, others


def data(root: Path) -> None:
    for number in range(COUNT + 1):
        image, nuclei, _ = draw(number)
        folder = root / "test" if number == COUNT else root
        for kind in ("image", "label"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "image" / f"{number:02d}.png")
        tifffile.imwrite(folder / "label" / f"{number:02d}.tif", nuclei.astype(np.uint16))


def found(run: Path, file: Path) -> np.ndarray:
    """Cells of an image by the network of a run, rows and columns."""
    network = run / "best.pt"
    return found_in(LoadSlice(channels=TrainedNetwork(network).channels())(str(file)), network).T


def picture(root: Path, runs: Path) -> None:
    file = root / "test" / "image" / f"{COUNT:02d}.png"
    image, nuclei, others = draw(COUNT)
    stains = np.stack([(cells > 0) + 0.2 for cells in (nuclei, ndi.binary_dilation(others > 0, iterations=3))], axis=-1)
    noisy = ndi.gaussian_filter(stains, (1, 1, 0)) + np.random.default_rng(0).normal(0, 0.05, stains.shape)
    panels = {
        "true nuclei": overlay(image, nuclei, width=1),
        "trained on --channels luminance": overlay(image, found(runs / "gray", file), width=1),
        "trained on all three channels": overlay(image, found(runs / "colour", file), width=1),
        "first channel of a fluorescence image": stretch(noisy[..., 0]),
        "second channel": stretch(noisy[..., 1]),
        "both, as an overlay shows them": stretch(noisy),
    }
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    for axes, (title, shown) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        axes.imshow(shown, interpolation="nearest")
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    figure.savefig(IMAGES / "channels.png", dpi=90, pil_kwargs={"optimize": True})


def main() -> None:
    what, *folders = sys.argv[1:]
    {"data": data, "picture": picture}[what](*map(Path, folders))


if __name__ == "__main__":
    main()
