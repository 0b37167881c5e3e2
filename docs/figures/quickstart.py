"""Draw images/quickstart.png, the overlays of the quick start's test images in a row.

After ``make quickstart``: ``python docs/figures/quickstart.py output``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).resolve().parents[1] / "images" / "quickstart.png"
#: px of a picture, and between two
SIDE, GAP = 320, 8


def main(folder: Path) -> None:
    row = []
    for file in sorted(folder.glob("*_overlay.png")):
        resized = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        row.append(np.pad(np.asarray(resized), ((GAP, GAP), (GAP * (not row), GAP), (0, 0)), constant_values=255))
    Image.fromarray(np.hstack(row)).save(OUT, optimize=True)  # all colours: a palette of 256 tints the grays


if __name__ == "__main__":
    main(Path(sys.argv[1]))
