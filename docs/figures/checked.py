"""Draw images/checked.png: the page of ``checking`` for synthetic cells that are spoiled on purpose.

``python docs/figures/checked.py`` needs Chromium.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from drawing import IMAGES, ROOT, photograph
from PIL import Image
from scipy.ndimage import gaussian_filter

from bundle.data.synthetic import make_dataset
from bundle.studies.commands import Command

SIZE = (1240, 1010)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(make_dataset(Path(scratch) / "mydata", count=12, seed=5))
        spoil(data)
        page = Path(scratch) / "check.html"
        command = Command("checking", ("configs/train.json",), {"dataset_dir": str(data), "check_page": str(page)})
        subprocess.run(command.words(), cwd=ROOT, check=True)
        page.write_text(page.read_text().replace(f'<p class="path">{data}</p>', ""))
        few_colours = photograph(page.as_uri(), SIZE).convert("P", palette=Image.Palette.ADAPTIVE, colors=128)
        few_colours.save(IMAGES / "checked.png", optimize=True)


def spoil(data: Path) -> None:
    """Labels moved, one image twice, one out of focus."""
    for file in sorted((data / "label").glob("*.tif")):
        label = tifffile.imread(file)
        moved = np.zeros_like(label)
        moved[:, 7:] = label[:, :-7]
        tifffile.imwrite(file, moved)
    for kind in ("image", "label"):
        tifffile.imwrite(data / kind / "copy.tif", tifffile.imread(data / kind / "004.tif")[::-1])
    file = data / "image" / "009.tif"
    tifffile.imwrite(file, gaussian_filter(tifffile.imread(file), 4))


if __name__ == "__main__":
    main()
