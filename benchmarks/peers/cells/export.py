"""The images that train, validate and are held out as plain files, which every program reads.

``python -m benchmarks.peers.cells.export --config_file "['configs/train.json','configs/experiments/dic_hela.json']"
--dataset_dir data/DIC-C2DH-HeLa --output_dir output/split/dic`` writes ``training/image``, ``training/label`` and the
same in ``validation`` and ``held_out``; further options are those of the training.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from monai.bundle import ConfigWorkflow
from monai.transforms import Compose

from bundle.atomic import require_writable
from bundle.data.item import Item
from bundle.studies.definition import options_of

__all__ = ["export", "main"]

_READ = ("load_image_and_label", "label_to_instances", "load_markers", "ignore_unannotated")


def export(config_file: Sequence[str], output_dir: Path, **options: Any) -> dict[str, int]:
    """Write the images and instance labels of a training's parts as TIFF, (H, W), in the gray values of the files.

    Returns:
        how many images each part has.

    Raises:
        FileExistsError: where the folder has something already.
        ValueError: for labels that leave pixels unannotated, which other programs cannot be told.
    """
    if output_dir.exists() and any(output_dir.iterdir()):
        raise FileExistsError(f"{output_dir} is not empty: give another --output_dir, or remove it")
    require_writable(output_dir)
    flow = ConfigWorkflow(list(config_file), workflow_type="train", logging_file=False, **options)
    parsed = flow.parser.get_parsed_content
    read = Compose([parsed(name) for name in _READ])
    known = {item["name"] for item in parsed("items")}
    parts: dict[str, list[Item]] = {
        "training": parsed("train#items"),
        "validation": parsed("validate#items"),
        "held_out": [item for item in parsed("labelled") if item["name"] not in known],
    }
    for part, items in parts.items():
        for item in items:
            data = read(dict(item))
            label = np.asarray(data["label"])[0].T
            if label.min() < 0:
                raise ValueError(f"{item['label']}: it has pixels that are not annotated; take labels that have none")
            _write(output_dir / part / "label" / f"{item['name']}.tif", label.astype(np.uint16))
            _write(output_dir / part / "image" / f"{item['name']}.tif", _stored(np.asarray(data["image"])))
    return {part: len(items) for part, items in parts.items()}


def _stored(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C), whole numbers as such."""
    pixels = image[0].T if len(image) == 1 else image.transpose(2, 1, 0)
    for dtype in (np.uint8, np.uint16):
        if np.array_equal(pixels.astype(dtype), pixels):
            return pixels.astype(dtype)
    return pixels


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")


def main(argv: Sequence[str] | None = None) -> None:
    options = options_of(sys.argv[1:] if argv is None else argv)
    try:
        given = options.pop("config_file")
        files = ast.literal_eval(given) if isinstance(given, str) and given.startswith("[") else given
        output_dir = Path(options.pop("output_dir"))
        counts = export([files] if isinstance(files, str) else files, output_dir, **options)
    except KeyError as error:
        sys.exit(f"error: --{error.args[0]} is missing")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(", ".join(f"{part}: {count}" for part, count in counts.items()))


if __name__ == "__main__":
    main()
