"""Put pictures side by side: ``python docs/figures/contact_sheet.py OUT.png IN.png ... [--columns N]``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from bundle.output.pictures import contact_sheet


def main() -> None:
    parser = argparse.ArgumentParser(description="Put pictures side by side.")
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--height", type=int, default=320, help="of each picture, px")
    options = parser.parse_args()
    resized = []
    for path in options.pictures:
        picture = Image.open(path).convert("RGB")
        width = round(picture.width * options.height / picture.height)
        resized.append(np.asarray(picture.resize((width, options.height), Image.Resampling.LANCZOS)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(resized, columns=options.columns)).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
