"""The images that train, validate and are held out as plain files, which every program reads.

``python -m benchmarks.peers.cells.export --config_file "['configs/train.json','configs/experiments/dic_hela.json']"
--dataset_dir data/DIC-C2DH-HeLa --output_dir output/split/dic`` writes ``training/image``, ``training/label`` and the
same in ``validation`` and ``held_out``; further options are those of the training. ``--held_out_labels gold`` takes
gold truth of the held-out images, for a training on silver truth.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from monai.bundle import ConfigWorkflow
from monai.transforms import Compose

from benchmarks.peers.cells.files import UNANNOTATED
from bundle.atomic import require_writable
from bundle.data.item import Item
from bundle.studies.definition import options_of

_READ = ("load_image_and_label", "label_to_instances", "load_markers", "ignore_unannotated")


def export(
    config_file: Sequence[str], output_dir: Path, held_out_labels: str | None = None, **options: Any
) -> dict[str, int]:
    """Write the images and instance labels of a training's parts as TIFF, (H, W), in the gray values of the files.

    Pixels that are not annotated become UNANNOTATED in labels that train, and background in held-out ones, where SEG
    does not look at them; F1 counts cells found there as invented.

    Args:
        config_file: as a training gets it.
        output_dir: must be empty.
        held_out_labels: ``labelled#labels`` of the held-out images, of which those remain that have such a label.
            None: as in the training.
        options: further ones of the training.

    Returns:
        how many images each part has.

    Raises:
        FileExistsError: where the folder has something already.
    """
    if output_dir.exists() and any(output_dir.iterdir()):
        raise FileExistsError(f"{output_dir} is not empty: give another --output_dir, or remove it")
    require_writable(output_dir)
    parsed = _parsed(config_file, options)
    read = Compose([parsed(name) for name in _READ])
    parts: dict[str, list[Item]] = {"training": parsed("train#items"), "validation": parsed("validate#items")}
    measured = _parsed(config_file, {**options, "labelled#labels": held_out_labels}) if held_out_labels else parsed
    known = {item["name"] for item in measured("items")}
    parts["held_out"] = [item for item in measured("labelled") if item["name"] not in known]
    for part, items in parts.items():
        for item in items:
            data = read(dict(item))
            label = np.asarray(data["label"])[0].T
            label = np.where(label < 0, 0 if part == "held_out" else UNANNOTATED, label)
            _write(output_dir / part / "label" / f"{item['name']}.tif", label.astype(np.uint16))
            _write(output_dir / part / "image" / f"{item['name']}.tif", _stored(np.asarray(data["image"])))
    return {part: len(items) for part, items in parts.items()}


def _parsed(config_file: Sequence[str], options: dict[str, Any]) -> Callable[[str], Any]:
    """What gives the parsed entries of a training's config."""
    flow = ConfigWorkflow(list(config_file), workflow_type="train", logging_file=False, **options)
    entry: Callable[[str], Any] = flow.parser.get_parsed_content
    return entry


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
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.cells.export",
        description=(__doc__ or "").split("\n")[0],
        allow_abbrev=False,
        epilog="All other options, such as --dataset_dir and --fold, are those of the training.",
    )
    parser.add_argument("--config_file", required=True, help="of a training, or a list of them")
    parser.add_argument("--output_dir", required=True, type=Path, help="must be empty")
    parser.add_argument("--held_out_labels", help="labelled#labels of the held-out images, such as gold")
    own, rest = parser.parse_known_args(argv)
    text = own.config_file
    try:
        files = ast.literal_eval(text) if text.startswith("[") else [text]
        counts = export(files, own.output_dir, own.held_out_labels, **options_of(rest))
    except (OSError, ValueError, SyntaxError) as error:
        sys.exit(f"error: {error}")
    print(", ".join(f"{part}: {count}" for part, count in counts.items()))


if __name__ == "__main__":
    main()
