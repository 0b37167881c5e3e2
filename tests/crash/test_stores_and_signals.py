"""Trainings that are stopped and go on, and trainings whose store of MLflow is full."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bundle.tracking import sqlite_uri
from bundle.training import SaveRun
from tests.crash.bench import Bench
from tests.crash.sentences import require_one_sentence
from tests.test_survival import interrupt_step, interrupt_validation
from tests.warm import warm

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Iterator[Bench]:
    with warm("tests.crash.test_stores_and_signals", "tests.crash.bench") as context:
        made = Bench(tmp_path_factory.mktemp("stores"), cells, context, plain=True)
        assert made.run("whole") == 0, made.said("whole")
        yield made


def stop_at(name: str) -> None:
    """In the access that gives a file its name."""
    replace = os.replace

    def stopped(source: Any, target: Any) -> None:
        if Path(target).name == name:
            os.kill(os.getpid(), signal.SIGSTOP)
        replace(source, target)

    os.replace = stopped


@pytest.mark.parametrize(
    ("name", "prepare"),
    [
        ("step", partial(interrupt_step, signal.SIGSTOP, 2)),
        ("validation", partial(interrupt_validation, signal.SIGSTOP)),
        ("write", partial(stop_at, "last.pt")),
    ],
)
def test_stopped_and_continued(bench: Bench, name: str, prepare: Callable[[], None]) -> None:
    process, stops = bench.start(name, prepare), 0
    while process.is_alive():
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0]
        if state == "T":
            stops += 1
            os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.05)
    assert process.exitcode == 0, bench.said(name)
    assert stops
    bench.require_same(name, "whole")


def fill_the_store(pages: int) -> None:
    """From now on a database of MLflow has no more than so many pages, as on a disk that is full."""
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    event.listen(Pool, "checkout", lambda opened, *_: opened.execute(f"pragma max_page_count = {pages}"))


def fill_the_store_after_the_first_epoch() -> None:
    save = SaveRun.save

    def save_and_fill(*args: Any) -> None:
        save(*args)
        fill_the_store(1)  # no less than there are

    SaveRun.save = save_and_fill  # type: ignore[method-assign]


def test_a_store_that_gets_full(bench: Bench, tmp_path: Path) -> None:
    code = bench.run(
        "full", fill_the_store_after_the_first_epoch, tracking_uri=sqlite_uri(tmp_path), samples_per_epoch=40
    )
    said = bench.said("full")
    assert code == 0, said[-2000:]
    assert said.count("database or disk is full; training continues, see") == 1, said[-2000:]
    assert "Traceback" not in said
    assert bench.run("long", samples_per_epoch=40) == 0
    bench.require_same("full", "long")


def test_a_store_that_is_full_before_it_begins(bench: Bench, tmp_path: Path) -> None:
    uri = sqlite_uri(tmp_path / "store")
    assert bench.run("nowhere", partial(fill_the_store, 20), tracking_uri=uri) == 1
    said = require_one_sentence(bench.said("nowhere"), tmp_path)
    assert "tracking_uri" in said
    assert "database or disk is full" in said
    assert bench.run("nowhere", tracking_uri=uri, resume=True) == 0
    bench.require_same("nowhere", "whole")
