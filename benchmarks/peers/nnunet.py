"""nnU-Net v2, configuration 2d, with its own plan, augmentation and test-time mirroring.

``python -m benchmarks.peers.nnunet --dataset_dir data/isbi2012 --minutes 40 --nnunet_python nnunet_env/bin/python``.
nnU-Net runs in an environment of its own (see README.md); this side writes its data set and measures its predictions.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.command import PeerError, make_parser, run
from benchmarks.peers.data import write_image, write_label
from benchmarks.peers.report import HELD_OUT, Outcome
from bundle.atomic import write_json
from bundle.data.item import Item

DATASET_ID = 1
DATASET = f"Dataset{DATASET_ID:03d}_cells"
MIRRORING = "mirroring"  # the four combinations of both axes: nnU-Net's default at inference
_ROOT = Path(__file__).resolve().parents[2]


def nnunet(options: argparse.Namespace, parts: Mapping[str, Sequence[Item]], folder: Path) -> Outcome:
    """Write the data set, let nnU-Net plan, train and predict in its own process, read its probabilities.

    Raises:
        PeerError: without nnU-Net, or when it fails.
    """
    require_nnunet(options.nnunet_python)
    folder = folder.absolute()
    segmented = {part: parts[part] for part in (HELD_OUT, "validation") if parts[part]}
    shown = [item for items in segmented.values() for item in items]
    write_dataset(folder / "nnUNet_raw" / DATASET, parts["training"], shown)
    facts = run_driver(options.nnunet_python, folder, job_of(options, folder, options.threads))
    read = {
        part: np.stack([read_probability(folder / "predictions" / f"{item['name']}.npz") for item in items])
        for part, items in segmented.items()
    }
    return Outcome({part: {MIRRORING: stack} for part, stack in read.items()}, **facts)


def require_nnunet(python: str) -> None:
    """Check that a Python has nnU-Net.

    Raises:
        PeerError: saying how to install it.
    """
    try:
        done = subprocess.run(
            [python, "-c", "import nnunetv2.training.nnUNetTrainer.nnUNetTrainer"], capture_output=True, text=True
        )
        reason = done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        raise PeerError(
            f"nnunet_python {python!r} cannot import nnunetv2 ({reason}): install it into an environment of its own, "
            "python3 -m venv nnunet_env && nnunet_env/bin/pip install torch nnunetv2, and give "
            "--nnunet_python nnunet_env/bin/python"
        )


def write_dataset(raw: Path, training: Sequence[Item], segmented: Sequence[Item]) -> None:
    """A data set in nnU-Net's format: PNG files and ``dataset.json``.

    Args:
        raw: its folder; made.
        training: datalist; images go to ``imagesTr`` as ``<name>_0000.png``, labels to ``labelsTr`` as ``<name>.png``.
        segmented: datalist of what is to be predicted; images go to ``imagesTs``, labels nowhere.
    """
    for item in training:
        write_image(item, raw / "imagesTr" / f"{item['name']}_0000.png")
        write_label(item, raw / "labelsTr" / f"{item['name']}.png")
    for item in segmented:
        write_image(item, raw / "imagesTs" / f"{item['name']}_0000.png")
    describe(raw, "EM", len(training))


def describe(raw: Path, channel: str, training: int, ignore: int | None = None) -> None:
    """Write ``dataset.json``; ``ignore`` is the class of pixels that are not annotated, None where all are."""
    description = {
        "channel_names": {"0": channel},  # no name that nnU-Net treats apart: every image is normalised by itself
        "labels": {"background": 0, "cell": 1} | ({} if ignore is None else {"ignore": ignore}),
        "numTraining": training,
        "file_ending": ".png",
    }
    write_json(raw / "dataset.json", description)


def job_of(options: argparse.Namespace, folder: Path, threads: int) -> dict[str, Any]:
    """What :mod:`benchmarks.peers.nnunet_driver` does with the data set in an absolute folder."""
    return {
        "dataset_id": DATASET_ID,
        "minutes": options.minutes,
        "seed": options.seed,
        "threads": threads,
        "gpu_memory_target": options.gpu_memory_target,
        "images": str(folder / "nnUNet_raw" / DATASET / "imagesTs"),
        "predictions": str(folder / "predictions"),
    }


def run_driver(python: str, folder: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """Run :mod:`benchmarks.peers.nnunet_driver` on a job; what it found.

    Args:
        python: that has nnU-Net.
        folder: absolute; gets nnU-Net's own folders and ``log.txt``.
        job: see the driver.

    Raises:
        PeerError: when it fails, with the last line it printed.
    """
    write_json(folder / "job.json", job)
    threads = str(job["threads"])
    environment = {
        **os.environ,
        **{name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")},
        "nnUNet_n_proc_DA": threads,
        "nnUNet_def_n_proc": threads,
        "OMP_NUM_THREADS": threads,
        "PYTHONPATH": str(_ROOT),  # for the processes that nnU-Net spawns, too
    }
    command = [python, "-m", "benchmarks.peers.nnunet_driver", str(folder / "job.json")]
    print(f"nnU-Net runs; it writes to {folder / 'log.txt'}", flush=True)
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        done = subprocess.run(command, cwd=_ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        last = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise PeerError(f"nnU-Net failed with status {done.returncode}: {last} (all of it in {folder / 'log.txt'})")
    return json.loads((folder / "facts.json").read_text(encoding="utf-8"))


def read_probability(path: Path) -> NDArray[np.float32]:
    """(H, W) probability of cell from nnU-Net's (classes, 1, H, W)."""
    with np.load(path) as file:
        return file["probabilities"][1, 0].astype(np.float32)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which nnU-Net, and what it plans for."""
    parser.add_argument("--nnunet_python", default=sys.executable, help="a Python with nnunetv2 (default this one)")
    parser.add_argument(
        "--gpu_memory_target",
        type=float,
        help="GB that nnU-Net's planner fits patch and batch into; default its own (8), less gives more steps",
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser("nnunet", (__doc__ or "").split("\n")[0], "nnunet_2d")
    add_options(parser)
    return run(parser, nnunet, argv)


if __name__ == "__main__":
    sys.exit(main())
