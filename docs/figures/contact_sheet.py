"""Put pictures in a row: ``python docs/figures/contact_sheet.py OUT.png IN.png ...``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

GAP = 8


def main() -> None:
    parser = argparse.ArgumentParser(description="Put pictures in a row.")
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--height", type=int, default=320, help="of each picture, px")
    options = parser.parse_args()
    row = []
    for path in options.pictures:
        picture = Image.open(path).convert("RGB")
        width = round(picture.width * options.height / picture.height)
        resized = np.asarray(picture.resize((width, options.height), Image.Resampling.LANCZOS))
        row.append(np.pad(resized, ((GAP, GAP), (GAP * (not row), GAP), (0, 0)), constant_values=255))
    Image.fromarray(np.hstack(row)).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
