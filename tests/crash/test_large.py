"""A large image in which each write access fails once, whichever it is, and a matrix of kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from bundle.large import cluster, image_in_blocks
from bundle.large.markers import Markers
from tests.conftest import ROOT
from tests.crash.io_faults import KINDS, read_record
from tests.large import killing
from tests.large.images import content
from tests.large.test_cluster import clustered
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


@pytest.mark.parametrize("whom", ["worker", "coordinator", "both"])
def test_kills_of_a_cluster(folder: Path, tmp_path: Path, whom: str) -> None:  # noqa: F811
    """At every access of a block: marker, each step of writing its chunk, marker done."""
    cases = [(block, access) for block in range(9) for access in range(1, 8)]
    for block, access in cases[::EVERY]:
        out = tmp_path / f"{block}-{access}" / "out"
        killing.write_plan(out, {block: {"access": access, "whom": whom}})
        code = killing.in_a_process(partial(clustered, folder, out), out.parent / "said")
        struck = len(read_record(out.parent / "record")) == access
        assert struck or access > 5, (block, access)
        begun = killing.blocks_done(out)
        if whom == "worker":
            assert code == 0, (out.parent / "said").read_text()
            assert len(begun) == 9 + struck, (block, access)
        else:
            assert code == (-signal.SIGKILL if struck else 0)
            if struck:
                done = Markers(out / "slide_segmentation.job" / "stages", "probability").done(9)
                assert len(begun) - done.sum() <= 2, "only what the two workers had in flight"
            segment(folder, out)
        assert content(out) == content(folder / "whole"), (block, access)


@pytest.mark.parametrize("how", [{"access": 1, "whom": "worker"}, {"hunger": True}])
def test_a_poison_block(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    how: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each worker that takes it dies, by a kill or for want of memory; the others are done, and then it alone."""
    monkeypatch.setattr(cluster, "free_memory", lambda device: 2 * 2**30)
    out = tmp_path / "out"
    killing.write_plan(out, {4: {"always": True, **how}})
    assert killing.in_a_process(partial(clustered, folder, out), tmp_path / "said") == 3
    assert "1 of 9 blocks of the probability could not be done (block 4: each worker" in (tmp_path / "said").read_text()
    assert sorted(killing.blocks_done(out)) == sorted([*range(9), 4, 4])
    (tmp_path / "plan.json").unlink()
    (tmp_path / "blocks").unlink()
    assert killing.in_a_process(partial(clustered, folder, out), tmp_path / "said") == 0
    assert killing.blocks_done(out) == [4]
    assert content(out) == content(folder / "whole")


def test_a_scheduler_that_is_already_there(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    """Its workers join late and leave; a second job finds them as they were."""

    def run() -> None:
        import distributed

        with (
            distributed.LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as there,
            closing(cluster.Cluster(there.scheduler_address)) as executor,
        ):
            threading.Timer(5, there.scale, [2]).start()
            for name in ("first", "second"):
                segment(folder, tmp_path / name, executor=executor)
                there.scale(1)

    assert killing.in_a_process(run, tmp_path / "said") == 0, (tmp_path / "said").read_text()
    for name in ("first", "second"):
        assert content(tmp_path / name) == content(folder / "whole")


def test_a_scheduler_killed_in_the_middle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """One sentence and a status of its own; the same command with another scheduler does what is missing."""
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "5s")
    out = tmp_path / "out"

    def started(part: str, name: str) -> subprocess.Popen[bytes]:
        words = {"scheduler": ["--port", "0", "--dashboard-address", ":0"], "worker": ["--nthreads", "1", "--no-nanny"]}
        command = [sys.executable, "-m", f"distributed.cli.dask_{part}", "--scheduler-file", str(tmp_path / name)]
        with (tmp_path / f"{name}.{part}.log").open("wb") as log:
            return subprocess.Popen([*command, *words[part]], stdout=log, stderr=log, env=environment)

    def run(name: str) -> None:
        image_in_blocks.Task = killing.KillingTask  # type: ignore[misc]
        while not (tmp_path / name).is_file():
            time.sleep(0.2)
        address = json.loads((tmp_path / name).read_text())["address"]
        with closing(cluster.Cluster(address)) as executor:
            segment(folder, out, executor=executor)

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("first", "second"):
        programs = [started("scheduler", name), started("worker", name)]
        try:
            if name == "first":
                killing.write_plan(out, {4: {"pid": programs[0].pid}})
            code = killing.in_a_process(partial(run, name), tmp_path / "said")
        finally:
            for program in programs:
                program.kill()
                program.wait()
        if name == "first":
            assert code == 3
            assert "is lost: start it again and repeat the command" in (tmp_path / "said").read_text()
            done = Markers(out / "slide_segmentation.job" / "stages", "probability").done(9)
            assert 3 <= done.sum() < 9
        else:
            assert code == 0, (tmp_path / "said").read_text()
    assert len(killing.blocks_done(out)) <= 11, "only what the one worker had in flight"
    assert content(out) == content(folder / "whole")
