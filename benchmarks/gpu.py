"""``python -m benchmarks.gpu --em DIR --dic DIR --out DIR``: everything to be known of a GPU, in twelve minutes.

The tests for GPUs, the times of segmentation and training beside those of the paper, and two trainings of the whole
network with their measures on held-out images. Each part is a process of its own with a limit; one that fails is said
to, and the others go on. What comes out is small: ``report.md``, tables, and the maps of held-out images as bytes.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from bundle import atomic
from bundle.studies.commands import Command, RunFolder

ROOT = Path(__file__).resolve().parent.parent
#: what the rehearsal makes small; the numbers that come out mean nothing
TINY = {
    **{"base_channels": 2, "depth": 2, "tile_size": 60, "max_epochs": 1, "samples_per_epoch": 2, "workers": 1},
    **{"elastic#sigma": 2.0, "cells#low_threshold": "$None", "cells#split_by": "$None"},
}


class Training(NamedTuple):
    """Overlays of an experiment, and measures of the report with what the paper has of them."""

    files: Sequence[str]
    paper: dict[str, float | None]


TRAININGS = {
    "em": Training(
        ["em.json"], {"rand_error": 0.0382, "warping_error": 0.000353, "pixel_error": 0.0611, "v_rand": None}
    ),
    "dic": Training(["dic_hela.json"], {"seg": 0.7756, "iou": None}),
}


class Part(NamedTuple):
    """A process: its name, words of ``python -m`` and seconds that it may take."""

    name: str
    words: Sequence[str]
    seconds: float


def parts_of(data: dict[str, Path], work: Path, device: str, minutes: float, tiny: bool) -> list[Part]:
    """The parts to run, in order.

    Args:
        data: experiment -> folder of its data set; those left out are not trained.
        work: for runs, whose checkpoints are too large to keep.
        device: "cuda", or "cpu" for the rehearsal.
        minutes: of each training.
        tiny: at a size that takes seconds.
    """
    parts = [
        Part("tests", ["pytest", "tests/test_cuda.py", "-q", "-p", "no:cacheprovider"], 150),
        Part("times", ["benchmarks.gpu_times", "--device", device, *(["--tiny"] if tiny else [])], 120),
    ]
    if not tiny:
        names = ["inference", "efficiency", "training_step"]
        parts.append(Part("benchmarks", ["benchmarks", *names, "--device", device, "--repeats", "3"], 150))
    for name, folder in data.items():
        parts += _training(name, folder, work, device, minutes, tiny)
    return parts


def _training(name: str, folder: Path, work: Path, device: str, minutes: float, tiny: bool) -> list[Part]:
    files = ("configs/train.json", *(f"configs/experiments/{file}" for file in TRAININGS[name].files))
    run, on = RunFolder(work / "runs", name), {"device": f"$torch.device('{device}')"}
    length = TINY if tiny else {"minutes": minutes}
    training = run.training(files, {"dataset_dir": str(folder), **on, **length})
    best = {**on, "checkpoint": str(run.checkpoint)}
    places = {"dataset_dir": str(folder), "output_dir": str(run.output_dir), "evaluation_dir": str(work / name)}
    measured = Command(
        "evaluating", (*files, "configs/evaluate.json"), {**best, **places, "part": "held_out", "tta": "d4"}
    )
    places = {"dataset_dir": str(work / f"{name}.tif"), "output_dir": str(work / f"{name}_maps")}
    maps = Command("inference", ("configs/inference.json",), {**best, **places, "write#overlays": False})
    return [
        Part(f"{name}: training", training.words("monai.bundle", "run"), 60 * minutes + 90),
        Part(f"{name}: evaluation", measured.words("monai.bundle", "run"), 150),
        Part(f"{name}: maps", maps.words("monai.bundle", "run"), 60),
    ]


def _stack(name: str, folder: Path, target: Path) -> None:
    """Images whose maps are kept: all EM slices, every tenth frame of the film."""
    if name == "em":
        shutil.copy(folder / "train-volume.tif", target)
    else:
        frames = sorted((folder / "01").glob("t*.tif"))[::10]
        tifffile.imwrite(target, np.stack([tifffile.imread(frame) for frame in frames]), photometric="minisblack")


def _run(part: Part, out: Path) -> str:
    """What became of it; what it says goes into ``log.txt``."""
    begun = time.monotonic()
    print(f"{part.name} ...", flush=True)
    try:
        done = subprocess.run(
            [sys.executable, "-m", *part.words], cwd=ROOT, capture_output=True, text=True, timeout=part.seconds
        )
        text, status = done.stdout + done.stderr, "done" if done.returncode == 0 else f"failed ({done.returncode})"
    except subprocess.TimeoutExpired as error:
        text = "".join(
            each.decode(errors="replace") for each in (error.stdout, error.stderr) if isinstance(each, bytes)
        )
        status = f"stopped at its limit of {part.seconds:.0f} s"
    seconds = time.monotonic() - begun
    with (out / "log.txt").open("a") as log:
        log.write(f"=== {part.name}: {status}, {seconds:.0f} s\n{text}\n")
    if part.name in ("times", "benchmarks"):
        told = (line for line in text.splitlines(keepends=True) if not line.startswith("epoch "))
        atomic.write_text(out / f"{part.name}.md", "".join(told))
    print(f"{part.name}: {status}, {seconds:.0f} s", flush=True)
    return f"{status}, {seconds:.0f} s"


def _keep(name: str, work: Path, out: Path) -> dict[str, float]:
    """Small files of a training; its measures on held-out images."""
    history, maps = work / "runs" / name / "history.csv", work / f"{name}_maps" / f"{name}_probability.tif"
    if history.is_file():
        shutil.copy(history, out / f"{name}_history.csv")
    if maps.is_file():
        of_bytes = np.rint(255 * tifffile.imread(maps)).astype(np.uint8)
        tifffile.imwrite(out / f"{name}_maps.tif", of_bytes, photometric="minisblack", compression="deflate")
    table = work / name / "summary.csv"
    if not table.is_file():
        return {}
    with table.open() as file:
        return {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}


def _report(out: Path, fates: dict[str, str], measured: dict[str, dict[str, float]], minutes: float) -> None:
    lines = ["| part | what became of it |", "|---|---|", *(f"| {name} | {fate} |" for name, fate in fates.items()), ""]
    if (out / "times.md").is_file():
        lines += [(out / "times.md").read_text()]
    lines += [f"Held-out images, d4, after {minutes:g} minutes of training:", ""]
    lines += ["| data | measure | here | the paper, on its own test images |", "|---|---|---:|---:|"]
    for name, values in measured.items():
        for measure, told in TRAININGS[name].paper.items():
            here = f"{values[measure]:.4f}" if measure in values else "-"
            lines.append(f"| {name} | {measure} | {here} | {'-' if told is None else told} |")
    atomic.write_text(out / "report.md", "\n".join(lines) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1 when a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--em", type=Path, help="folder of ISBI 2012 (train-volume.tif, train-labels.tif)")
    parser.add_argument("--dic", type=Path, help="folder of DIC-C2DH-HeLa (01, 01_ST)")
    parser.add_argument("--out", type=Path, default=Path("output/gpu"), help="where report, tables and maps go")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training (default %(default)g)")
    parser.add_argument("--parts", nargs="+", help="only those whose names begin so: tests times benchmarks em dic")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: for a rehearsal")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: seconds, and numbers that mean nothing")
    given = parser.parse_args(argv)
    data = {name: folder.resolve() for name in TRAININGS if (folder := getattr(given, name)) is not None}
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.txt").unlink(missing_ok=True)
    fates, measured = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, images in data.items():
            _stack(name, images, work / f"{name}.tif")
        for part in parts_of(data, work, given.device, given.minutes, given.tiny):
            if not given.parts or part.name.startswith(tuple(given.parts)):
                fates[part.name] = _run(part, out)
        for name in data:
            measured[name] = _keep(name, work, out)
            _report(out, fates, measured, given.minutes)
    _report(out, fates, measured, given.minutes)
    print(f"{out / 'report.md'}")
    return 0 if all(fate.startswith("done") for fate in fates.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
