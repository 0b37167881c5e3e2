"""What the scripts of this folder share: panels, pictures as files, what a network finds, photographs of a page."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation, too

from bundle.cells import probability_to_instances
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.passes import foreground_probability
from bundle.model import TrainedNetwork
from transforms import Standardize

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
ORANGE, BLUE = "#f28c28", "#3aa0ff"
matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 9.5})


def panels(columns: int, side: float = 2.7, extra: float = 0.3) -> tuple[Figure, list[Axes]]:
    """A row of square panels without axes."""
    figure = Figure(figsize=(side * columns, side + extra), dpi=120, layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, columns)))
    for ax in axes:
        ax.set_axis_off()
    return figure, axes


def show(ax: Axes, picture: np.ndarray, title: str, **options: object) -> None:
    ax.imshow(picture, **{"cmap": "gray", "interpolation": "nearest", "vmin": 0, "vmax": 1, **options})
    ax.set_title(title)


def save(figure: Figure, name: str) -> None:
    """In full colour: a palette of 256 tints the grays of an image beside colours."""
    path = IMAGES / f"{name}.png"
    drawn = BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB")


def found_in(
    image: np.ndarray, checkpoint: str | Path, tta: str = "none", swapped: bool = False, **options: object
) -> np.ndarray:
    """Cells (x, y[, z]) that a network finds in an image (channels, x, y[, z]), read as its card says but for options.

    ``swapped``: what it takes for background counts as cell.
    """
    trained = TrainedNetwork(str(checkpoint))
    given = Standardize(spatial_dims=image.ndim - 1)(np.asarray(image, np.float32))
    probability = np.asarray(foreground_probability(trained.load(), OverlapTileInferer(tta=tta), given))
    return probability_to_instances(1 - probability if swapped else probability, trained.cell_options(), **options)


def photograph(page: str, size: tuple[int, int], *options: str) -> Image.Image:
    """The page at an address, in Chromium with further options; ``size`` in px."""
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch) / "page.png"
        window = f"--window-size={size[0]},{size[1]}"
        browser = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", window, f"--screenshot={shot}"]
        subprocess.run([*browser, *options, page], check=True, stderr=subprocess.DEVNULL)
        return Image.open(shot).convert("RGB")
