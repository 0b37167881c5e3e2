"""Draw images/ignore_region.png: what gold truth leaves out, and what each kind of evidence makes of it.

``python docs/figures/ignored_pixels.py FOLDER``; FOLDER holds the Cell Tracking Challenge's DIC-C2DH-HeLa.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import center_of_mass
from skimage.segmentation import find_boundaries

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation, too

from bundle.data.ctc import datalist
from bundle.data.loading import LoadSliced
from transforms import IgnoreUnannotatedd, LabelToInstancesd, SeparateTouchingd, WeightMapd
from transforms.labels.instances import IGNORE

FRAME = "01-067"
LEVELS = {"none": "gold alone", "markers": "gold with markers", "silver": "gold with silver"}
OUT = Path(__file__).resolve().parents[1] / "images" / "ignore_region.png"


def main(folder: str) -> None:
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    axes = figure.subplots(1, 4)
    for ax, (evidence, title) in zip(axes, LEVELS.items(), strict=False):
        item = next(item for item in datalist(folder, evidence=evidence) if item["name"] == FRAME)
        keys = [key for key in ("image", "label", "markers", "silver") if key in item]
        loaded = LoadSliced(keys, label_keys=keys[1:])(item)
        markers = np.asarray(loaded["markers"])[0].T if "markers" in loaded else None
        annotated = IgnoreUnannotatedd("label")(LabelToInstancesd("label")(loaded))
        image, label = (np.asarray(annotated[key])[0].T for key in ("image", "label"))
        unknown = label == IGNORE
        ax.imshow(image, cmap="gray")
        ax.imshow(np.where(unknown, 1.0, np.nan), cmap="autumn", vmin=0, vmax=1.6, alpha=0.45, interpolation="nearest")
        edges = find_boundaries(np.maximum(label, 0), mode="inner")
        ax.imshow(np.where(edges, 1.0, np.nan), cmap="cool", vmin=0, vmax=3, interpolation="nearest")
        if markers is not None:
            centres = np.array(center_of_mass(markers > 0, markers, np.unique(markers[markers > 0])))
            ax.plot(centres[:, 1], centres[:, 0], "w.", markersize=4)
        ax.set_title(f"{title}: {100 * unknown.mean():.0f} % ignored")
    weight = WeightMapd("label", border_on="background")(SeparateTouchingd("label", width=2)(annotated))["weight"]
    shown = axes[3].imshow(np.asarray(weight)[0].T, cmap="magma", vmin=0, vmax=4)
    axes[3].set_title("weight map, last case")
    figure.colorbar(shown, ax=axes[3], shrink=0.8)
    for ax in axes:
        ax.set_axis_off()
    figure.savefig(OUT, dpi=100, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} FOLDER")
    main(sys.argv[1])
