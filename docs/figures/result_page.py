"""Draw images/result_page.png: the page of inference for synthetic cells, by the shipped way of a short training.

``python docs/figures/result_page.py`` needs Chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation, too

from bundle.cells import probability_to_instances
from bundle.data.loading import LoadSliced
from bundle.data.synthetic import make_dataset
from bundle.output.writer import SegmentationWriter

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "images" / "result_page.png"
SIZE = (1240, 1010)


def main() -> None:
    """The probability is made from the labels, surer and less sure, so that nothing has to be trained."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(make_dataset(Path(scratch) / "data", count=12, seed=5))
        write = SegmentationWriter(Path(scratch) / "results")
        for number, file in enumerate(sorted((data / "image").glob("*.tif"))):
            calibrated = Path(scratch) / file.name
            tifffile.imwrite(calibrated, tifffile.imread(file), imagej=True, resolution=(4, 4), metadata={"unit": "um"})
            image = LoadSliced("image")({"image": str(calibrated)})["image"]
            probability = sure(tifffile.imread(data / "label" / file.name).T, 0.3 + number % 4, seed=number)
            cells = probability_to_instances(probability, min_size=20)
            write({"image": image, "probability": probability[None], "instances": cells[None]})
        page = write.page.write() if write.page else None
        shot = Path(scratch) / "page.png"
        window = f"--window-size={SIZE[0]},{SIZE[1]}"
        browser = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", window, f"--screenshot={shot}"]
        subprocess.run([*browser, f"file://{page}"], check=True, stderr=subprocess.DEVNULL)
        Image.open(shot).convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(OUT, optimize=True)


def sure(label: np.ndarray, blur: float, seed: int) -> np.ndarray:
    """A probability that is 0.5 at the edges of cells, and the flatter there the more ``blur``."""
    inside = np.zeros(label.shape)
    for number in np.unique(label[label > 0]):
        inside = np.maximum(inside, distance_transform_edt(label == number))
    noise = gaussian_filter(np.random.RandomState(seed).randn(*label.shape), 4) * 2 * blur
    far = np.where(inside > 0, inside - 2, -distance_transform_edt(inside == 0))
    return (1 / (1 + np.exp(-(far + noise) / blur))).astype(np.float32)


if __name__ == "__main__":
    main()
