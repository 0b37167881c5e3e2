"""A small part of ``make test-crash``: writing results, where each write access fails once, whichever it is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile
from monai.data import MetaTensor

from bundle.atomic import append_csv
from bundle.output.writer import SegmentationWriter
from tests.crash.io_faults import KINDS, arm, read_record
from tests.crash.whole_files import leftovers, require_whole


def write_results(folder: Path) -> None:
    """Of an image, in the folder of earlier ones, and one row more in their summary."""
    meta = {"filename_or_obj": str(folder.parent / "a.tif"), "affine": np.eye(4)}
    image = MetaTensor(np.zeros((1, 9, 7), np.float32), meta=meta)
    write = SegmentationWriter(folder, overlays=False)
    write({"image": image, "probability": np.full((1, 9, 7), 0.5), "instances": np.ones((1, 9, 7), int)})
    append_csv(folder / "summary.csv", [], [["more"] * 8])


def in_a_process(folder: Path, kind: str | None, nth: int) -> tuple[int, str]:
    """Exit status, 3 for an error of the system, and what that said."""
    pid = os.fork()
    if pid == 0:
        try:
            arm([folder], folder.parent / "record", kind, nth)
            write_results(folder)
            os._exit(0)
        except OSError as error:
            (folder.parent / "said").write_text(str(error))
            os._exit(3)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, (folder.parent / "said").read_text() if code == 3 else ""


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_each_access(tmp_path: Path, kind: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7, 9), np.uint8))
    folder = tmp_path / "results"
    assert in_a_process(folder, None, 0) == (0, "")
    whole, accesses = content(folder), read_record(tmp_path / "record")
    assert len(accesses) > 20
    assert {operation for _, operation, _ in accesses} >= {"mkdir", "open", "write", "fsync", "replace", "rmdir"}
    ends = set()
    for nth, operation, path in accesses:
        code, said = in_a_process(folder, kind, nth)
        ends.add(code)
        if code == 3:  # one sentence of the file, not of the place where it is made
            assert said.startswith((f"{folder}/", f"output_dir '{folder}'")), (nth, operation, path, said)
            assert ".part" not in said, (nth, operation, path, said)
            assert " cannot be written (" in said, (nth, operation, path, said)
        require_whole(folder)
        write_results(folder)
        assert content(folder) == whole, (nth, operation, path)
        assert not leftovers(folder)
    assert ends <= ({-signal.SIGKILL} if kind == "kill" else {0, 3})
    assert ends & {-signal.SIGKILL, 3}
