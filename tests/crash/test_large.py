"""A large image in which each write access fails once, whichever it is, and a matrix of kills."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.crash.io_faults import KINDS, read_record
from tests.large.images import content
from tests.large.test_job import folder, in_a_process, one_thread, segment  # noqa: F401 - fixtures

pytestmark = pytest.mark.crash
EVERY = int(os.environ.get("CRASH_EVERY", "1"))


@pytest.mark.parametrize("kind", KINDS)
def test_each_access(folder: Path, tmp_path: Path, kind: str) -> None:  # noqa: F811
    assert in_a_process(folder, tmp_path / "count", None, 0) == 0
    for nth, operation, path in read_record(tmp_path / "record")[::EVERY]:
        out = tmp_path / str(nth)
        code = in_a_process(folder, out, kind, nth)
        assert code in ((-signal.SIGKILL,) if kind == "kill" else (0, 3)), (nth, operation, path)
        segment(folder, out)
        assert content(out) == content(folder / "whole"), (nth, operation, path)
