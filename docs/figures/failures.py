"""Draw failure_*.png of your_images.md: ``python docs/figures/failures.py IMAGES RUNS``.

IMAGES holds image/ and label/ of BBBC038 (Data Science Bowl 2018, CC0). RUNS holds networks of some minutes each:

    python -m monai.bundle run training --config_file "['configs/train.json','configs/experiments/nuclei.json']"
    --base_channels 12 --tile_size 252 --held_out 12 --validation 3 --val_interval 100 --dataset_dir IMAGES

full.pt with --max_epochs 12; half.pt and half_ignored.pt with --max_epochs 5 on labels in which 60 % of the nuclei,
drawn at random, are 0 or -1; inverted.pt with --max_epochs 3 on labels in which background and nuclei are swapped;
synthetic.pt with train.json alone, --base_channels 12 --tile_size 316.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from monai.transforms import Compose
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

sys.path.insert(0, str(Path(__file__).resolve().parent))

from transform_pictures import panels, save, show

from bundle.cells.instances import probability_to_instances
from bundle.data.loading import LoadSliced
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.passes import foreground_probability
from bundle.model import TrainedNetwork
from transforms import Standardize

LOAD = Compose([LoadSliced(keys="image", channels="luminance")])


def probability(network_file: Path, image: np.ndarray) -> np.ndarray:
    """The probability of "nucleus" of an image (H, W)."""
    network = TrainedNetwork(network_file).load()
    return np.asarray(foreground_probability(network, OverlapTileInferer(), Standardize()(image[None])))


def outlined(image: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """RGB of an image (H, W), cells tinted and outlined."""
    low, high = np.percentile(image, [1, 99.7])
    gray = np.clip((image - low) / (high - low), 0, 1) ** 0.6
    rgb = np.repeat(gray[..., None], 3, -1)
    rgb[cells > 0] = 0.75 * rgb[cells > 0] + 0.25 * np.array([1, 0.55, 0.1])
    rgb[find_boundaries(cells, mode="inner")] = [1, 0.6, 0]
    return rgb


def figure(name: str, pictures: dict[str, tuple[np.ndarray, np.ndarray]], crop: tuple[slice, slice]) -> None:
    drawn, axes = panels(len(pictures), side=3.1)
    for ax, (title, (image, cells)) in zip(axes, pictures.items(), strict=True):
        inside = crop if image.shape == (256, 256) else (slice(None), slice(None))
        rgb = outlined(image, cells)[inside]
        show(ax, rgb, title)
    save(drawn, f"failure_{name}")


def main(images: Path, runs: Path) -> None:
    def read(name: str) -> np.ndarray:
        return np.asarray(LOAD({"image": str(images / "image" / f"{name}.tif")})["image"])[0].T

    def cells(image: np.ndarray, run: str = "full", **options: object) -> np.ndarray:
        return probability_to_instances(probability(runs / f"{run}.pt", image), **{"min_size": 20, **options})

    whole = (slice(None), slice(None))
    nuclei, clumps, dense = read("037"), read("044"), read("033")
    none = np.zeros((256, 256), int)
    good = cells(nuclei, threshold=0.7, low_threshold=0.4)
    figure("good", {"image": (nuclei, none), "threshold 0.7, low_threshold 0.4": (nuclei, good)}, whole)
    near = (slice(60, 160), slice(140, 240))
    merged = {
        "image": (clumps, none),
        "merged: threshold 0.3": (clumps, cells(clumps, threshold=0.3)),
        "split_by distance": (clumps, cells(clumps, threshold=0.3, split_by="distance", split_distance=8)),
    }
    figure("merged", merged, near)
    small = {
        "too small: threshold 0.75": (dense, cells(dense, threshold=0.75)),
        "with low_threshold 0.3": (dense, cells(dense, threshold=0.75, low_threshold=0.3)),
    }
    figure("small", small, (slice(80, 180), slice(46, 146)))
    speckled = read("059")
    specks = {
        "min_size 0": (speckled, cells(speckled, min_size=0)),
        "min_size 50": (speckled, cells(speckled, min_size=50)),
    }
    figure("specks", specks, (slice(60, 200), slice(0, 140)))
    faint = read("023")
    missing = {
        "40 % annotated, the rest is 0": (faint, cells(faint, "half")),
        "40 % annotated, the rest is -1": (faint, cells(faint, "half_ignored")),
    }
    figure("partial", missing, whole)
    swapped = {"labels swapped": (nuclei, cells(nuclei, "inverted")), "background is 0 in the labels": (nuclei, good)}
    figure("swapped", swapped, whole)
    touching = np.asarray(LOAD({"image": "data/synthetic/test/image/024.tif"})["image"])[0].T
    reduced = ndi.zoom(touching.astype(float), 0.35, order=1)
    scale = {
        "at a third of the size": (reduced, cells(reduced, "synthetic", min_size=0)),
        "as in training": (touching, cells(touching, "synthetic")),
    }
    figure("scale", scale, whole)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} IMAGES RUNS")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
