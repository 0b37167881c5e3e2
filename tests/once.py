"""What every training does anew and need not in tests: MLflow's tables, and MONAI's list of its own classes.

Both together take half of the time of a tiny training. Processes of their own, and those of tests/warm.py, do both.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from monai.bundle.config_item import ComponentLocator

from bundle.tracking import mlflow_run


@contextmanager
def once(folder: Path) -> Iterator[None]:
    """Within, a new store is a copy of one in ``folder``, and the classes of MONAI are looked for once."""
    listed: dict[tuple[str, ...], Any] = {}
    find = ComponentLocator._find_classes_or_functions

    def find_once(self: ComponentLocator, names: Any) -> Any:
        key = tuple(names)
        if key not in listed:
            listed[key] = find(self, names)
        return dict(listed[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_run, "_make_database", partial(_copy, mlflow_run._make_database, folder / "mlflow.db"))
        patch.setattr(ComponentLocator, "_find_classes_or_functions", find_once)
        yield


def _copy(make: Callable[[Path, str], None], template: Path, file: Path, artifacts: str) -> None:
    """What ``make`` would leave."""
    if file.exists():
        make(file, artifacts)  # checks it
        return
    if not template.exists():
        make(template, "file:///nowhere")
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, file)
    with closing(sqlite3.connect(file)) as store, store:
        store.execute("UPDATE experiments SET artifact_location = ?", (f"{artifacts}/0",))
