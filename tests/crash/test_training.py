"""A training, and its resume, in which each write access fails once, whichever it is."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bundle import atomic
from tests.crash.bench import Bench
from tests.crash.io_faults import KINDS, Access, arm, read_record
from tests.crash.sentences import require_one_sentence
from tests.crash.states import state_of
from tests.crash.whole_files import leftovers, require_whole
from tests.test_survival import interrupt_step
from tests.warm import warm

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Bench:
    with warm("tests.crash.test_training", "tests.crash.bench") as context:
        made = Bench(tmp_path_factory.mktemp("training"), cells, context, plain=True)
        assert made.run("whole") == 0, made.said("whole")
    return made


class Faults:
    """Trainings with a fault in one access to the folder of their run, the published model or their artifacts.

    Args:
        bench: has the run ``whole``.
        begin: makes the folder of a run of this name, where it is one to resume.
    """

    def __init__(self, bench: Bench, begin: Callable[[str], object] | None = None) -> None:
        self.bench, self.begin = bench, begin
        self.got_over: set[str] = set()

    def run(self, name: str, kind: str | None, nth: int = 0) -> int:
        if self.begin is not None:
            self.begin(name)
        runs, host = self.bench.folder / "runs", f".{atomic._HOST}-"
        watched = [runs / name, runs / "mlartifacts", self.bench.folder / f"{name}.", self.bench.folder / host]
        prepare = partial(arm, watched, self.bench.folder / f"{name}.io", kind, nth)
        return self.bench.run(name, prepare, resume=self.begin is not None)

    def accesses(self, name: str) -> list[Access]:
        assert self.run(name, None) == 0, self.bench.said(name)
        return read_record(self.bench.folder / f"{name}.io")

    def require_survived(self, name: str, kind: str, nth: int) -> None:
        """All that is there can be read, the command has said why it ended, and goes on when it is repeated."""
        code, said = self.run(name, kind, nth), self.bench.said(name)
        if code == 1:
            require_one_sentence(said, self.bench.folder)
        else:
            assert code in {"kill": [-signal.SIGKILL], "TERM": [143, 0, -signal.SIGTERM]}.get(kind, [0]), said[-2000:]
        assert "Traceback" not in said, said[-3000:]
        run_dir, model = self.bench.folder / "runs" / name, self.bench.folder / f"{name}.pt"
        require_whole(run_dir)
        self.bench.require_readable(name)
        state = state_of(run_dir, model, model.with_suffix(".json"), *leftovers(self.bench.folder, below=False))
        if state in self.got_over:
            for left in leftovers(self.bench.folder, below=False):
                shutil.rmtree(left)
            return
        assert self.bench.run(name, resume=True) == 0, self.bench.said(name)[-3000:]
        self.bench.require_same(name, "whole")
        require_whole(run_dir)
        assert not leftovers(run_dir)
        whole = self.bench.folder / "runs" / "whole"
        assert {path.name for path in run_dir.iterdir()} == {path.name for path in whole.iterdir()}
        self.got_over.add(state)

    def require_all_survived(self, name: str, kind: str) -> None:
        accesses = self.accesses(name)
        tried = accesses[:: int(os.environ.get("CRASH_EVERY", "1"))]
        wrong = []
        for nth, operation, path in tried:
            try:
                self.require_survived(f"{name}-{nth}", kind, nth)
            except AssertionError as error:
                wrong.append(f"{nth} {operation} {path.removeprefix(str(self.bench.folder))}: {error}")
                print(wrong[-1], flush=True)
        print(f"{name}: {len(tried)} of {len(accesses)} accesses, {len(self.got_over)} states left", flush=True)
        assert not wrong, "\n\n".join([f"{len(wrong)} of {len(tried)}", *wrong])


@pytest.mark.parametrize("kind", [*KINDS, "TERM"])
def test_a_training(bench: Bench, kind: str) -> None:
    Faults(bench).require_all_survived(f"new-{kind}", kind)


@pytest.fixture(scope="module")
def interrupted(bench: Bench) -> Path:
    """The folder of a run that was asked to end in the middle of its second epoch."""
    assert bench.run("interrupted", partial(interrupt_step, signal.SIGTERM, 6)) == 143, bench.said("interrupted")
    return bench.folder / "runs" / "interrupted"


@pytest.mark.parametrize("kind", [*KINDS, "TERM"])
def test_a_resumed_training(bench: Bench, interrupted: Path, kind: str) -> None:
    def begin(name: str) -> None:
        shutil.copytree(interrupted, bench.folder / "runs" / name)

    Faults(bench, begin).require_all_survived(f"again-{kind}", kind)
