"""What a command says where it may not write or read."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bundle.model.card import write_card
from bundle.tracking import sqlite_uri
from tests.crash.bench import Bench
from tests.crash.ordinary_user import as_an_ordinary_user
from tests.crash.sentences import require_one_sentence
from tests.crash.test_inference import Inferences
from tests.test_survival import interrupt_step
from tests.warm import warm

pytestmark = pytest.mark.crash


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Iterator[Bench]:
    with warm("tests.crash.test_permissions", "tests.crash.bench") as context:
        made = Bench(tmp_path_factory.mktemp("permissions"), cells, context, plain=True)
        assert made.run("whole") == 0, made.said("whole")
        assert made.run("begun", partial(interrupt_step, signal.SIGTERM, 6)) == 143
        yield made


def refused(bench: Bench, name: str, **options: Any) -> str:
    assert bench.run(name, as_an_ordinary_user, **options) == 1, bench.said(name)[-2000:]
    return require_one_sentence(bench.said(name), bench.folder)


def test_runs_in_a_closed_folder(bench: Bench) -> None:
    closed = bench.folder / "closed"
    closed.mkdir()
    with mode(closed, 0o500):
        said = refused(bench, "elsewhere", output_dir=str(closed), tracking_uri=sqlite_uri(bench.folder / "runs"))
    assert f"output_dir '{closed}' cannot be written (Permission denied): choose another" in said
    assert not list(closed.iterdir())


@pytest.mark.parametrize(
    ("file", "bits", "told"),
    [
        (".", 0o500, "begun' cannot be written (Permission denied)"),
        ("last.pt", 0, "last.pt cannot be read or written (Permission denied)"),
        ("mlflow_run_id.txt", 0, "mlflow_run_id.txt cannot be read (Permission denied): remove it"),
    ],
)
def test_a_run_that_is_closed(bench: Bench, file: str, bits: int, told: str) -> None:
    with mode(bench.folder / "runs" / "begun" / file, bits):
        assert told in refused(bench, "begun", resume=True)


def test_a_model_that_may_not_be_replaced(bench: Bench) -> None:
    closed = bench.folder / "models"
    closed.mkdir()
    with mode(closed, 0o500):
        said = refused(bench, "unpublished", model_file=str(closed / "model.pt"))
    assert (
        f"{closed / 'model.pt'} cannot be written (Permission denied); {bench.folder}/runs/unpublished/last.pt" in said
    )
    assert bench.run("unpublished", resume=True) == 0
    bench.require_same("unpublished", "whole")


@pytest.mark.parametrize("bits", [0o444, 0])
def test_a_store_that_is_closed(bench: Bench, bits: int) -> None:
    if not (bench.folder / "store").is_dir():
        assert bench.run("open", tracking_uri=sqlite_uri(bench.folder / "store"), max_epochs=1) == 0
    with mode(bench.folder / "store" / "mlflow.db", bits), mode(bench.folder / "store", 0o555):
        said = refused(bench, f"closed-{bits}", tracking_uri=sqlite_uri(bench.folder / "store"))
    assert "mlflow.db" in said
    assert "readonly database" in said or "unable to open database file" in said


@pytest.fixture(scope="module")
def inferences(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inferences]:
    with warm("tests.crash.test_permissions", "itk") as context:
        yield Inferences(tmp_path_factory.mktemp("closed"), context)


def card(inferences: Inferences) -> Path:
    write_card(inferences.folder / "model.json", {}, of=inferences.folder / "model.pt")
    return inferences.folder / "model.json"


@pytest.mark.parametrize(
    ("what", "bits", "told"),
    [
        (lambda one: one.folder / "model.pt", 0, "model.pt cannot be read or written (Permission denied)"),
        (card, 0, "model.json cannot be read or written (Permission denied)"),
        (lambda one: one.folder / "images" / "b.nii.gz", 0, "b.nii.gz"),
        (lambda one: one.folder / "images", 0, "images"),
    ],
)
def test_an_inference_that_may_not_read(
    inferences: Inferences, what: Callable[[Inferences], Path], bits: int, told: str
) -> None:
    with mode(what(inferences), bits):
        assert inferences.run("unread", as_an_ordinary_user) == 1, inferences.said("unread")[-2000:]
    assert told in require_one_sentence(inferences.said("unread"), inferences.folder)


def test_an_inference_that_may_not_write(inferences: Inferences) -> None:
    (inferences.folder / "kept").mkdir()
    with mode(inferences.folder / "kept", 0o500):
        assert inferences.run("kept", as_an_ordinary_user) == 1
    said = require_one_sentence(inferences.said("kept"), inferences.folder)
    assert "kept' cannot be written (Permission denied): choose another" in said
