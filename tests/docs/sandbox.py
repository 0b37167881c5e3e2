"""A folder in which the commands of the pages run: tiny data under the names that the pages use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
import zarr
from PIL import Image
from scipy import ndimage as ndi

from bundle.data.synthetic import make_dataset
from tests.conftest import ROOT, TINY
from tests.docs.pages import Snippet, words_of
from tests.warm import QUIET, cpu_seconds, run_code, run_module

#: of the repository; models/ is a copy, since trainings write there
LINKED = ("bundle", "transforms", "configs", "benchmarks", "label_app", "docs", "Makefile", "constraints.txt")
#: what stands for a name of the reader's own
PLACEHOLDERS = {
    "DIR": "mydata",
    "IN": "new_images",
    "OUT": "results",
    "DATA": "data/DIC-C2DH-HeLa",
    "NAME": "mine",
    "EM": "data/isbi2012",
}
SIZE = [96, 96]
VOLUME = [36, 36, 16]


class CommandFailed(AssertionError):
    """A command of the pages that does not run; its message ends with what the command said."""


class Sandbox:
    """Runs commands and snippets, each one once."""

    def __init__(self, folder: Path, context: ForkServerContext) -> None:
        self.folder, self.context = folder, context
        self.done: dict[str, CommandFailed | None] = {}
        self.help: dict[str, str] = {}
        self.seconds = 0.0
        self.became: dict[Snippet, tuple[str, float]] = {}
        self.log = folder.with_name("commands.log")
        folder.mkdir()
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "models", folder / "models")
        make_data(folder)

    def module(self, words: Sequence[str], real: bool = False) -> str:
        """``python -m`` the words, at a tiny size; what it said.

        Args:
            real: in a process of its own, as a reader starts it; otherwise in one that has imported everything.
        """
        module, *rest = with_tiny_size(words)
        if not real:
            return self._forked(run_module, module, rest)
        before = cpu_seconds()
        with self.log.open("w") as log:
            command = [sys.executable, "-m", module, *rest]
            done = subprocess.run(command, cwd=self.folder, env=os.environ | QUIET, stdout=log, stderr=log, timeout=300)
        self.seconds += cpu_seconds() - before
        return self._said(done.returncode)

    def python(self, code: str) -> str:
        return self._forked(run_code, code)

    def _forked(self, target: Callable[..., None], *arguments: Any) -> str:
        self.log.unlink(missing_ok=True)
        process = self.context.Process(target=target, args=(*arguments, self.folder, self.log))
        process.start()
        process.join(300)
        self.seconds += float(self.log.with_suffix(".seconds").read_text())
        return self._said(process.exitcode)

    def _said(self, status: int | None) -> str:
        text = self.log.read_text()
        if status:
            raise CommandFailed(f"exit status {status}\n{text[-20_000:]}")
        return text

    def once(self, text: str, run: Callable[[], object]) -> None:
        """Run, or repeat what came of the same text."""
        if text not in self.done:
            self.done[text] = None
            try:
                run()
            except CommandFailed as error:
                self.done[text] = error
        failure = self.done[text]
        if failure is not None:
            raise failure


def with_tiny_size(words: Sequence[str]) -> list[str]:
    """Of two values of an option the last one counts."""
    names = "|".join(PLACEHOLDERS)
    words = [re.sub(rf"\b({names})\b", lambda name: PLACEHOLDERS[name[1]], word) for word in words]
    size: dict[str, Any] = {}
    kind = words[2] if words[:2] == ["monai.bundle", "run"] else words[0]
    if kind in ("training", "evaluating", "choosing", "calibrating") and "--dataset_dir" not in words:
        size["dataset_dir#size"] = VOLUME if any("volumes.json" in word for word in words) else SIZE
    if kind == "training" and "--pretrained" in words:
        size |= {"max_epochs": 1, "samples_per_epoch": 2, "tile_size": 252}
    elif kind == "training":
        if "--minutes" in words:  # tests/training/test_run_length.py trains for so long
            at = words.index("--minutes")
            words = [*words[:at], *words[at + 2 :]]
        size |= {**TINY, "max_epochs": 1, "samples_per_epoch": 2}
    elif kind == "checking":
        size |= {name: TINY[name] for name in ("base_channels", "depth", "tile_size")}
    elif kind == "evaluating" and "--backend" in words:
        size |= {"backend": "eager"}  # another one takes seconds to prepare a network; inference does
    elif kind == "calibrating":
        size["max_loss"] = 1  # of networks that have hardly been trained
    elif kind == "choosing":
        size |= {"cells#split_by": "$None", "cells#low_threshold": "$None"}
    elif kind == "bundle.studies":
        size["minutes"] = 0  # all runs are checked, none is started
    return [*words, *(word for key, value in size.items() for word in (f"--{key}", str(value)))]


def effective(words: Sequence[str]) -> str:
    """The same text for commands that do the same at the tiny size."""
    options: list[list[str]] = [[]]
    for word in with_tiny_size(words[2:]) if words[:2] == ["python", "-m"] else words:
        if word.startswith("--"):
            options.append([])
        options[-1].append(word)
    return repr(sorted({option[0]: option for option in options}.items()))


def quickstart() -> list[list[str]]:
    """What make quickstart runs after the installation."""
    shown = subprocess.run(["make", "-n", "-C", str(ROOT), "quickstart"], capture_output=True, text=True, check=True)
    lines = re.findall(r"^\S*/python -m (?:monai\.)?bundle.*", shown.stdout, flags=re.MULTILINE)
    return [words_of(line)[2:] for line in lines]


def make_data(folder: Path) -> None:
    """Synthetic cells in each layout, and a stack of cells that fill the plane."""
    made = Path(make_dataset(folder / "drawn", count=12, size=SIZE, seed=1))
    images = [tifffile.imread(path) for path in sorted((made / "image").iterdir())]
    labels = [tifffile.imread(path) for path in sorted((made / "label").iterdir())]
    for name, data in {"mydata": images, "data/dsb2018": [np.stack([image] * 3, -1) for image in images]}.items():
        for letter, image, label in zip("abcdefghijkl", data, labels, strict=True):
            save(folder / name / "image" / f"{letter}.png", image)
            save(folder / name / "label" / f"{letter}.png", label.astype(np.uint8))
    for letter, path in zip("abcd", sorted((made / "test" / "image").iterdir()), strict=True):
        save(folder / "new_images" / f"{letter}.{'png' if letter == 'a' else 'tif'}", tifffile.imread(path))
    make_store(folder / "slide.zarr", images[0])
    nibabel.save(nibabel.Nifti1Image(np.stack(images[:4]).T, np.eye(4)), folder / "brain.nii.gz")
    shutil.rmtree(made)
    made = Path(make_dataset(folder / "myvolumes", count=2, size=VOLUME))
    shutil.copytree(made / "test" / "image", folder / "new_volumes")
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        film, frame = folder / "data/DIC-C2DH-HeLa", number % 6
        sequence = f"{1 + number // 6:02d}"
        save(film / sequence / f"t{frame:03d}.tif", image)
        save(film / f"{sequence}_ST/SEG/man_seg{frame:03d}.tif", label)
        save(film / f"{sequence}_GT/TRA/man_track{frame:03d}.tif", np.where(ndi.grey_erosion(label, 7), label, 0))
        if frame % 2 == 0:
            save(film / f"{sequence}_GT/SEG/man_seg{frame:03d}.tif", label)
    shutil.copytree(folder / "data/DIC-C2DH-HeLa", folder / "data/PhC-C2DH-U373")
    stack = np.stack([membranes(seed) for seed in range(16)])
    noise = np.random.RandomState(0).normal(0, 20, stack.shape)
    save(folder / "data/isbi2012/train-labels.tif", 255 * stack.astype(np.uint8))
    for name in ("train-volume", "test-volume", "raw-30"):
        save(folder / f"data/isbi2012/{name}.tif", (60 + 100 * stack + noise).clip(0, 255).astype(np.uint8))
    classes = np.array([0, 32, 159, 191, 223, 255], np.uint8)[np.random.RandomState(1).randint(6, size=(20, 12, 12))]
    save(folder / "data/vnc/raw.tif", (255 - classes).repeat(8, 1).repeat(8, 2))
    save(folder / "data/vnc/labels.tif", classes[:16].repeat(8, 1).repeat(8, 2))


def make_store(path: Path, image: np.ndarray) -> None:
    """An OME-Zarr of one level."""
    group = zarr.open_group(path, mode="w")
    group.create_array("0", data=image, chunks=(48, 48), config={"write_empty_chunks": True})
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}


def membranes(seed: int, cells: int = 20) -> np.ndarray:
    """Voronoi cells, True, with membranes of 3 px between them."""
    points = np.random.RandomState(seed).uniform(0, SIZE, (cells, 2))
    distance = np.linalg.norm(np.indices(SIZE)[..., None] - points.T[:, None, None], axis=0)
    owner = distance.argmin(-1)
    return ndi.maximum_filter(owner, 3) == ndi.minimum_filter(owner, 3)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array, photometric="minisblack")
