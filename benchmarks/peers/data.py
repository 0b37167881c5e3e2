"""Which slices train and which are held out, as in configs/experiments/em.json, and the files that peers read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bundle.data import datalist
from bundle.data.errors import ImageError
from bundle.data.item import Item
from bundle.data.load_slice import LoadSlice
from bundle.data.splits import split

_CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def parts(
    dataset_dir: str | os.PathLike[str], validation: int = 0, few: int = 0, few_seed: int = 0
) -> dict[str, list[Item]]:
    """The slices of ISBI 2012, split as ``configs/train.json`` with ``configs/experiments/em.json`` splits them.

    Args:
        dataset_dir: folder of ``train-volume.tif`` and ``train-labels.tif``.
        validation: how many of those that are not held out are not trained on either.
        few: how many of the rest train, drawn with ``few_seed`` as ``configs/few.json`` draws them; 0: all.

    Returns:
        "training", "validation" and "held_out" -> datalist.

    Raises:
        FileNotFoundError, ValueError: see :func:`bundle.data.datalist` and :func:`bundle.data.splits.split`.
    """
    seed = json.loads((_CONFIGS / "train.json").read_text(encoding="utf-8"))["split_seed"]
    count = json.loads((_CONFIGS / "experiments" / "em.json").read_text(encoding="utf-8"))["held_out"]
    labelled = datalist(dataset_dir, layout="isbi2012")
    if len(labelled) <= count:
        raise ValueError(
            f"{dataset_dir} has {len(labelled)} slices, at least {count + 1} are needed: {count} are held out"
        )
    rest = split(labelled, count, seed, "others", name="held_out")
    training = split(rest, validation, seed, "others", name="validation")
    return {
        "training": split(training, few, few_seed, "selected", name="few") if few else training,
        "validation": split(rest, validation, seed, "selected"),
        "held_out": split(labelled, count, seed, "selected"),
    }


def truth(items: Sequence[Item]) -> NDArray[np.bool_]:
    """(N, H, W), true where there is cell."""
    return np.stack([_rows(item, "label") > 0 for item in items])


def write_image(item: Item, path: Path) -> None:
    """The grey values of one slice as a PNG, 8 bit.

    Raises:
        ImageError: for other pixels than whole numbers of 0 to 255.
    """
    pixels = _rows(item, "image")
    grey = pixels.astype(np.uint8)
    if not np.array_equal(grey, pixels):
        raise ImageError(
            item["image"], f"its pixels must be whole numbers of 0 to 255, slice {item['slice']} has others"
        )
    write_png(grey, path)


def write_label(item: Item, path: Path) -> None:
    """The classes of one slice as a PNG: 0 membrane, 1 cell."""
    write_png((_rows(item, "label") > 0).astype(np.uint8), path)


def _rows(item: Item, key: Literal["image", "label"]) -> np.ndarray:
    """(H, W); what is read comes in MONAI's order (1, x, y)."""
    return LoadSlice(label=key == "label")(item[key], item["slice"])[0].numpy().T


def write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
