"""Options, files and clock of a program that trains on a split; imports nothing that its environment may lack."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

#: name -> (image (H, W) or (H, W, C), label (H, W) uint16: 0 background, 1.. cells, or UNANNOTATED)
Images = Mapping[str, tuple[np.ndarray, np.ndarray]]
#: of a training label: nobody said what is here
UNANNOTATED = 65535


def not_installed(error: ModuleNotFoundError, *requirements: str) -> str:
    """What to say where a program is missing in this Python."""
    environment = f"{requirements[0].split('=')[0]}_env"
    return (
        f"error: {sys.executable} has no {error.name}: python3 -m venv {environment} && {environment}/bin/pip install "
        f"{' '.join(map(repr, requirements))}, and repeat this with {environment}/bin/python"
    )


def options_of(
    description: str, argv: Sequence[str] | None = None, parents: Sequence[argparse.ArgumentParser] = ()
) -> argparse.Namespace:
    """Every program's options and those of ``parents``; makes the output folder, and seeds what is random."""
    parser = argparse.ArgumentParser(description=description, parents=list(parents))
    parser.add_argument("--split", type=Path, required=True, help="folder that benchmarks.peers.cells.export wrote")
    parser.add_argument("--output_dir", type=Path, required=True, help="gets the cells of the held-out images")
    parser.add_argument("--part", default="held_out", help="that is segmented (default held_out)")
    parser.add_argument("--minutes", type=float, default=20.0, help="of one core, for the training (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    options = parser.parse_args(argv)
    if not 0 < options.minutes < float("inf"):
        parser.error(f"--minutes must be above 0 and finite, got {options.minutes}")
    for part in ("training", options.part):
        if not (options.split / part / "label").is_dir():
            parser.error(f"--split {options.split} has no folder {part}/label: see benchmarks.peers.cells.export")
    if options.output_dir.exists() and any(options.output_dir.iterdir()):
        parser.error(f"--output_dir {options.output_dir} is not empty: nothing is written over")
    options.output_dir.mkdir(parents=True, exist_ok=True)
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - what these programs draw from
    return options


def read(split: Path, *parts: str) -> Images:
    """The images of some parts, of each in the order of their names; a part that is not there has none."""
    return {
        label.stem: (tifffile.imread(split / part / "image" / label.name), tifffile.imread(label))
        for part in parts
        for label in sorted((split / part / "label").glob("*.tif"))
    }


def read_training(split: Path, partly: bool = False) -> Images:
    """What a program may learn from: training and validation images, as ours does; each chooses its own validation.

    Args:
        split: the folder.
        partly: the program can be told which pixels are not annotated. Otherwise it ends where there are any.
    """
    images = read(split, "training", "validation")
    if not partly:
        for name, (_, label) in images.items():
            if (label == UNANNOTATED).any():
                sys.exit(f"error: label {name} has pixels that are not annotated, of which this program cannot be told")
    return images


def cpu_minutes() -> float:
    """Of this process, all of its threads."""
    return time.process_time() / 60


def segment(options: argparse.Namespace, cells_of: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write ``NAME_cells.tif`` of each image of the part; no label is shown to ``cells_of``."""
    for name, (image, _) in read(options.split, options.part).items():
        cells = np.asarray(cells_of(image)).astype(np.uint16)
        tifffile.imwrite(options.output_dir / f"{name}_cells.tif", cells, photometric="minisblack")


def write_facts(options: argparse.Namespace, packages: Sequence[str], **facts: Any) -> None:
    """``facts.json``: what was run, for how long, on which machine."""
    facts = {
        "split": str(options.split),
        "part": options.part,
        "seed": options.seed,
        "cpu_minutes_allowed": options.minutes,
        **facts,
        "versions": {package: version(package) for package in packages},
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }
    (options.output_dir / "facts.json").write_text(json.dumps(facts, indent=4), encoding="utf-8")
