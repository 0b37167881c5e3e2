"""An upload to the store of the MONAI Label app in which each write access fails once: run in the server's environment.

    python -m tests.crash.label_uploads FOLDER EVERY

Prints one JSON object: how many accesses there were, and what was wrong with which.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from fastapi import HTTPException

from label_app.store import CheckedStore
from tests.crash.io_faults import KINDS, arm, read_record


def store_of(folder: Path) -> CheckedStore:
    return CheckedStore(str(folder), extensions=["*.tif"], auto_reload=False)


def label_of(store: CheckedStore) -> tuple[int, Any]:
    """Its largest number, and what is noted of it."""
    file = store.get_label_uri("image", "final")
    return int(tifffile.imread(file).max()), store.get_label_info("image", "final").get("cells")


def prepare(folder: Path) -> None:
    """Studies of one image with one label of 2 cells, and beside them a new one of 3."""
    studies = folder / "studies"
    studies.mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    tifffile.imwrite(studies / "image.tif", image)
    for name, count in (("old.tif", 2), ("new.tif", 3)):
        label = np.zeros((256, 256), np.uint16)
        for cell in range(count):
            label[50 * cell : 50 * cell + 20] = cell + 1
        tifffile.imwrite(folder / name, label)
    store_of(studies).save_label("image", str(folder / "old.tif"), "final", {})


def upload(folder: Path, kind: str | None, nth: int) -> None:
    store = store_of(folder / "studies")
    arm([folder / "studies"], folder / "io", kind, nth)
    try:
        store.save_label("image", str(folder / "new.tif"), "final", {})
    except HTTPException as error:
        told = str(error.detail)
        if error.status_code != 507 or str(folder) not in told or ".part" in told or "\n" in told:
            sys.exit(f"said: {error.status_code} {told}")
        if label_of(store)[1] != 2:
            sys.exit("the store goes on with the label that was refused")
        os._exit(7)
    os._exit(0)


def in_a_process(work: Callable[[], None], log: Path) -> int:
    pid = os.fork()
    if pid == 0:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        try:
            work()
        except SystemExit as stopped:
            print(stopped.code, flush=True)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wrong_after(folder: Path, kind: str, nth: int) -> str | None:
    code = in_a_process(lambda: upload(folder, kind, nth), folder / "log")
    if code not in {"kill": (-signal.SIGKILL,)}.get(kind, (0, 7)):
        return f"exit {code}: {(folder / 'log').read_text()[-1000:]}"
    json.loads((folder / "studies" / "datastore_v2.json").read_text())
    store = store_of(folder / "studies")
    found = label_of(store)
    # killed between the two, or with no room to take it back, the note is ahead of the file
    allowed = {(7, "EIO"): [(2, 2)], (0, "EIO"): [(3, 3)], (0, "ENOSPC"): [(3, 3)]}
    if found not in allowed.get((code, kind), [(2, 2), (2, 3), *([(3, 3)] if kind == "kill" else [])]):
        return f"exit {code}: the store has {found}"
    store.save_label("image", str(folder / "new.tif"), "final", {})
    if label_of(store) != (3, 3):
        return f"then the store has {label_of(store)}"
    left = [str(path) for path in (folder / "studies").rglob(".*.part")]
    return f"left: {left}" if left else None


def main(root: Path, every: int) -> None:
    prepare(root / "count")
    code = in_a_process(lambda: upload(root / "count", None, 0), root / "log")
    assert code == 0, (root / "log").read_text()
    accesses = read_record(root / "count" / "io")
    wrong, tried = [], 0
    for kind in KINDS:
        for nth, operation, path in accesses[::every]:
            folder = root / f"{kind}-{nth}"
            prepare(folder)
            said = wrong_after(folder, kind, nth)
            tried += 1
            if said:
                wrong.append(f"{kind} {nth} {operation} {Path(path).name}: {said}")
            shutil.rmtree(folder)
    print(json.dumps({"accesses": len(accesses), "tried": tried, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
