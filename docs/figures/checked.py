"""Draw images/checked.png: the page of ``checking`` for synthetic cells that are spoiled on purpose.

``python docs/figures/checked.py`` needs Chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation, too

from bundle.data.synthetic import make_dataset

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "images" / "checked.png"
SIZE = (1240, 1010)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(make_dataset(Path(scratch) / "mydata", count=12, seed=5))
        spoil(data)
        page = Path(scratch) / "check.html"
        words = ["monai.bundle", "run", "checking", "--config_file", "configs/train.json"]
        options = ["--dataset_dir", str(data), "--check_page", str(page)]
        subprocess.run([sys.executable, "-m", *words, *options], cwd=ROOT, check=True)
        page.write_text(page.read_text().replace(f'<p class="path">{data}</p>', ""))
        shot = Path(scratch) / "page.png"
        window = f"--window-size={SIZE[0]},{SIZE[1]}"
        browser = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", window, f"--screenshot={shot}"]
        subprocess.run([*browser, f"file://{page}"], check=True, stderr=subprocess.DEVNULL)
        Image.open(shot).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(OUT, optimize=True)


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
