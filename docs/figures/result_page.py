"""Draw images/result_page.png: the page that inference writes, for synthetic cells that the network has not seen.

``make quickstart`` trains the network; then ``python docs/figures/result_page.py runs/quickstart/best.pt``. It needs
Chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from drawing import IMAGES, ROOT, photograph
from PIL import Image

from bundle.data.synthetic import make_dataset
from bundle.studies.commands import Command

SIZE = (1240, 1010)
#: other images than those that train
SEED = 5


def main(checkpoint: str) -> None:
    """Segment twelve images, as a user does, and photograph the page."""
    with tempfile.TemporaryDirectory() as scratch:
        images, results = Path(scratch) / "images", Path(scratch) / "results"
        images.mkdir()
        for file in sorted((Path(make_dataset(Path(scratch) / "data", count=12, seed=SEED)) / "image").glob("*.tif")):
            calibrated = {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}
            tifffile.imwrite(images / file.name, tifffile.imread(file), **calibrated)
        options = {"dataset_dir": str(images), "output_dir": str(results)}
        options["checkpoint"] = str(Path(checkpoint).resolve())
        command = Command("inference", ("configs/inference.json",), options)
        subprocess.run(command.words(), check=True, cwd=ROOT)
        # time for the pictures, which are decoded when they come into sight
        page = photograph((results / "index.html").as_uri(), SIZE, "--virtual-time-budget=10000")
        gray_and_colours(page).save(IMAGES / "result_page.png", optimize=True)


def gray_and_colours(picture: Image.Image) -> Image.Image:
    """The picture with a palette of 128 grays and 128 colours: one for all would tint the grays."""
    pixels = np.asarray(picture)
    coloured = np.ptp(pixels, axis=2) > 4
    colours = Image.fromarray(pixels[coloured][None]).quantize(128, dither=Image.Dither.NONE)
    numbers = pixels.max(axis=2) // 2
    numbers[coloured] = 128 + np.asarray(colours)[0]
    small = Image.fromarray(numbers)
    small.putpalette(np.linspace(0, 255, 128).round().astype(np.uint8).repeat(3).tolist() + colours.getpalette())
    return small


if __name__ == "__main__":
    main(sys.argv[1])
