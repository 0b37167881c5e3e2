"""From ``python -m monai.bundle run`` to a segmented small image, beside ``import monai.bundle`` alone: CPU time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import tifffile

from benchmarks.steps import CONFIG
from benchmarks.targets import at_most
from benchmarks.timing import CheckError, Options, Table, cpu_of_children

_ROOT = CONFIG.parent.parent
IMPORT, OURS = "python -c 'import monai.bundle'", "monai.bundle run, one image of 128 x 128 px, written"


def run(options: Options) -> Iterator[Table]:
    """One table; the processes take turns, and a first one of each fills the caches."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "images", "noise.tif")
        image.parent.mkdir()
        pixels = np.random.RandomState(options.seed).randint(0, 255, (128, 128)).astype(np.uint8)
        tifffile.imwrite(image, pixels, photometric="minisblack")
        words = ["--config_file", str(CONFIG.with_name("inference.json")), "--dataset_dir", str(image.parent)]
        words += ["--checkpoint", str(_ROOT / "models" / "em_membranes.pt"), "--output_dir", f"{folder}/output"]
        commands = {IMPORT: ["-c", "import monai.bundle"], OURS: ["-m", "monai.bundle", "run", *words]}
        rounds = [{name: _seconds(command) for name, command in commands.items()} for _ in range(options.few + 1)][1:]
    above = [each[OURS] - each[IMPORT] for each in rounds]
    rows = [[name, f"{median(each[name] for each in rounds):.2f}"] for name in commands]
    rows.append(["difference, median of the rounds", f"{median(above):.2f}"])
    share = median(each[OURS] / each[IMPORT] - 1 for each in rounds)
    target = at_most("start of inference, above", IMPORT, share, 0.15, percent=True)
    yield Table("start of inference", ("", "CPU s"), rows, [target])


def _seconds(command: Sequence[str]) -> float:
    """CPU seconds of a process of Python with these arguments."""
    before = cpu_of_children()
    done = subprocess.run([sys.executable, *command], cwd=_ROOT, capture_output=True, text=True)
    took = cpu_of_children() - before
    if done.returncode:
        raise CheckError(f"{' '.join(command[:3])} ends with {done.returncode}: {done.stderr[-1000:]}")
    return took
