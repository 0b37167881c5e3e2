"""Draw failure_*.png of your_images.md: ``python docs/figures/failures.py IMAGES QUICK [RUNS]``.

IMAGES holds image/ and label/ of BBBC038 (Data Science Bowl 2018, CC0). Nuclei are found by models/nuclei.pt, in images
that took no part in its training, and read as its card says but for what the titles name. QUICK is the network of
``make quickstart``, runs/NAME/best.pt; it must not have trained on the image 026 of synthetic cells.

RUNS holds half.pt and half_ignored.pt, trained on labels in which 60 % of the nuclei, drawn at random, are 0 or -1:

    python -m monai.bundle run training --config_file "['configs/train.json','configs/experiments/nuclei.json']"
    --base_channels 12 --tile_size 252 --held_out 12 --validation 3 --val_interval 100 --max_epochs 5
    --dataset_dir IMAGES

Without RUNS, failure_partial.png is left as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from drawing import ROOT, found_in, panels, save, show
from scipy import ndimage as ndi

from bundle.data.loading import LoadSliced
from bundle.data.synthetic import make_dataset
from bundle.output.overlay import overlay, stretch

LOAD = LoadSliced(keys="image", channels="luminance")
NUCLEI = ROOT / "models" / "nuclei.pt"
WHOLE = (slice(None), slice(None))
#: px of the pictures that are drawn, about
SIDE = 768


def read(file: Path) -> np.ndarray:
    """Rows and columns of an image."""
    return np.asarray(LOAD({"image": str(file)})["image"])[0].T.astype(np.float32)


def cells(image: np.ndarray, checkpoint: Path = NUCLEI, **options: object) -> np.ndarray:
    return found_in(image.T[None], checkpoint, **options).T


def figure(
    name: str,
    pictures: dict[str, tuple[np.ndarray, np.ndarray]],
    crop: tuple[slice, slice] = WHOLE,
    brighter: float = 0.6,
) -> None:
    """A panel for each title with its image and cells; ``brighter`` is the exponent of the gray values."""
    drawn, axes = panels(len(pictures), side=3.1)
    for ax, (title, (image, found)) in zip(axes, pictures.items(), strict=True):
        gray = (stretch(image)[..., 0] ** brighter)[crop]
        factor = max(1, SIDE // len(gray))
        large, numbers = (array.repeat(factor, 0).repeat(factor, 1) for array in (gray, found[crop]))
        show(ax, overlay(large, numbers, fill=0.25, width=5), title, interpolation="antialiased")
    save(drawn, f"failure_{name}")


def main(images: Path, quick: Path, runs: Path | None) -> None:
    def image_of(name: str) -> np.ndarray:
        return read(images / "image" / f"{name}.tif")

    nuclei, round_ones, pair, dense, dirty = (image_of(name) for name in ("005", "045", "044", "033", "018"))
    none = np.zeros_like(pair, int)
    good = {"image": (round_ones, none), "cells": (round_ones, cells(round_ones))}
    figure("good", good, np.s_[72:256, 72:256])
    merged = {
        "image": (pair, none),
        "merged": (pair, cells(pair)),
        "split_by distance": (pair, cells(pair, split_by="distance")),
    }
    figure("merged", merged, np.s_[104:168, 54:118])
    small = {
        "too small: threshold 0.9": (dense, cells(dense, threshold=0.9)),
        "with low_threshold 0.3": (dense, cells(dense, threshold=0.9, low_threshold=0.3)),
    }
    figure("small", small, np.s_[128:224, 4:100])
    specks = {"min_size 0": (dirty, cells(dirty, min_size=0)), "min_size 20": (dirty, cells(dirty))}
    figure("specks", specks, np.s_[112:240, 122:250])
    swapped = {
        "background and cells swapped": (nuclei, cells(nuclei, swapped=True)),
        "background is 0 in the labels": (nuclei, cells(nuclei)),
    }
    figure("swapped", swapped, np.s_[64:256, 0:192])
    touching = read(Path(make_dataset("data/synthetic")) / "test" / "image" / "026.tif")
    reduced = ndi.zoom(touching, 1 / 3, order=1)
    scale = {
        "at a third of the size": (reduced, cells(reduced, quick)),
        "as in training": (touching, cells(touching, quick)),
    }
    figure("scale", scale, brighter=1)
    if runs:
        faint = image_of("023")
        partial = {
            "40 % annotated, the rest is 0": (faint, cells(faint, runs / "half.pt", min_size=20)),
            "40 % annotated, the rest is -1": (faint, cells(faint, runs / "half_ignored.pt", min_size=20)),
        }
        figure("partial", partial)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: python {sys.argv[0]} IMAGES QUICK [RUNS]")
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
