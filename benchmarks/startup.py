"""From ``python -m monai.bundle run training`` to the first iteration: CPU time by part, and what imports take."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import MARK
from benchmarks.steps import CONFIG
from benchmarks.timing import CheckError, Options, Table
from bundle.data.synthetic import make_dataset
from bundle.studies.commands import Command

_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
_ROOT = CONFIG.parent.parent

Parts = dict[str, tuple[float, float, int]]


def run(options: Options, top: int = 10) -> Iterator[Table]:
    """Two tables: parts of the start, and the packages whose modules take longest to import.

    CPU seconds, not those of the clock: a busy machine and cold files change them less. The data set is there
    already, the caches of Python and numba are warm.
    """
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder) / "data", seed=options.seed)
        _start(Path(folder))  # fills the caches
        found = [parts_and_packages(_start(Path(folder))) for _ in range(options.few)]
    rows = []
    for part in found[0][0]:
        cpu, imports, modules = zip(*(parts[part] for parts, _ in found), strict=True)
        rows.append([part, f"{median(cpu):.2f}", f"{median(imports):.2f}", f"{modules[0]}"])
    yield Table("start of training, to the first iteration", ("", "CPU s", "of it imports, s", "modules"), rows)
    counts = found[0][1]
    seconds = {name: median(packages[name][0] for _, packages in found) for name in counts}
    longest = sorted(seconds, key=lambda name: -seconds[name])[:top]
    rows = [[name, f"{seconds[name]:.2f}", f"{counts[name][1]}"] for name in longest]
    yield Table(f"imports by package, the {top} longest", ("", "s", "modules"), rows)


def _start(folder: Path, **settings: object) -> str:
    """Train one step on the command line, with these entries of the config changed; standard error."""
    overlay = folder / "marks.json"
    handler = {"_target_": "benchmarks.marks.Marks"}
    overlay.write_text(json.dumps({"+imports": ["$import benchmarks.marks"], "+train#handlers": [handler]}))
    options = {
        "dataset_dir": f"{folder / 'data'}",
        "output_dir": f"{folder / 'runs'}",
        "model_file": f"{folder / 'model.pt'}",
        "max_epochs": 1,
        "samples_per_epoch": 1,
        "val_interval": 2,  # none
        **settings,
    }
    command = Command("training", (str(CONFIG), str(overlay)), options)
    words = command.words(sys.executable, "-X", "importtime", "-m", "monai.bundle", "run")
    done = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode:
        messages = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        raise CheckError("training does not start: " + "\n".join(messages[-20:]))
    return done.stderr


def parts_and_packages(stderr: str) -> tuple[Parts, dict[str, tuple[float, int]]]:
    """Read the marks and the import times.

    Returns:
        part -> (CPU s, s of imports in it, modules imported in it), and package -> (s, modules).
    """
    parts: Parts = {}
    seconds: defaultdict[str, float] = defaultdict(float)
    modules: Counter[str] = Counter()
    before, imports, count = 0.0, 0.0, 0
    for line in stderr.splitlines():
        if match := _IMPORT.match(line):
            package = match[2].split(".")[0]
            seconds[package] += int(match[1]) / 1e6
            modules[package] += 1
            imports += int(match[1]) / 1e6
            count += 1
        elif line.startswith(MARK):
            now, part = line.removeprefix(MARK).strip().split(" ", 1)
            if part.startswith("of these"):
                parts[part] = float(now), 0.0, 0
            else:
                parts[part] = float(now) - before, imports, count
                before, imports, count = float(now), 0.0, 0
    return parts, {name: (seconds[name], modules[name]) for name in seconds}
