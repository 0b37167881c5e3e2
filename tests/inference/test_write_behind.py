"""Writing in a thread and reading ahead: results, order, failures and memory are those of one image at a time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from ignite.engine import Engine

from bundle.console import own_cause
from bundle.data.errors import ImageError
from bundle.data.readable_items import ReadableItems
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.write_behind import WriteBehind
from bundle.model import checkpoints
from bundle.networks import UNet
from bundle.output.writer import SegmentationWriter
from tests.conftest import inference

SIDES = (40, 52, 44, 60, 36, 48)


class Trace:
    """Items whose reading, computing and writing are told in turn; writing takes longest."""

    def __init__(self, alone=(), broken=(), failing=None, count=6):
        self.events: list[str] = []
        self.failing = failing
        self.behind = WriteBehind(self.write)
        self.dataset = ReadableItems(
            [{"image": str(number)} for number in range(count)],
            self.read,
            self.behind,
            lambda path: int(path) in alone,
        )
        self.broken = broken

    def read(self, item):
        if int(item["image"]) in self.broken:
            raise ImageError(item["image"], "it is broken")
        self.events.append(f"read {item['image']}")
        return item["image"]

    def write(self, number):
        time.sleep(0.01)
        if number == self.failing:
            raise OSError(28, "No space left on device", f"{number}.tif")
        self.events.append(f"written {number}")

    def run(self, stopped_at=None):
        engine = Engine(lambda engine, number: self.step(number, stopped_at))
        self.behind.attach(engine)
        self.dataset.finish(lambda: engine.run(self.dataset, max_epochs=1))

    def step(self, number, stopped_at):
        if number == stopped_at:
            raise MemoryError("not enough memory")
        self.behind(number)

    def of(self, kind):
        return [event.split()[1] for event in self.events if event.startswith(kind)]


def test_images_are_written_in_their_order_while_others_are_read():
    trace = Trace()
    trace.run()
    assert trace.of("written") == list("012345")
    assert trace.events.index("read 2") < trace.events.index("written 0")


def test_few_images_are_there_at_once():
    trace = Trace(count=12)
    trace.run()
    there = [sum(1 if event.startswith("read") else -1 for event in trace.events[:n]) for n in range(25)]
    assert max(there) == 4, "one is read, one computed, one waits, one is written"


def test_a_large_image_is_the_only_one():
    trace = Trace(alone=(2, 3))
    trace.run()
    assert trace.events.index("read 2") > trace.events.index("written 1")
    assert trace.events[trace.events.index("read 2") :][:4] == ["read 2", "written 2", "read 3", "written 3"]
    assert trace.of("written") == list("012345")


@pytest.mark.parametrize("alone", [(), (2,), (3,), range(6)])
def test_what_cannot_be_written_is_named_with_those_behind_it(alone):
    trace = Trace(alone, broken=(0, 3), failing="2")
    with pytest.raises(RuntimeError) as caught:
        trace.run()
    assert str(caught.value) == (
        "stopped at 2: No space left on device (2.tif). It and 3 left of 6 (3, 4, 5) are not done, the results before "
        "it are complete; skipped before: 0 (it is broken)"
    )
    assert trace.of("written") == ["1"]


def test_images_before_one_that_the_network_fails_at_are_written():
    trace = Trace()
    with pytest.raises(
        RuntimeError, match=r"stopped at 3: not enough memory\. It and 2 left of 6 \(4, 5\) are not done"
    ):
        trace.run(stopped_at="3")
    assert trace.of("written") == list("012")
    trace = Trace(failing="2")
    with pytest.raises(RuntimeError, match="stopped at 2: No space left on device"):
        trace.run(stopped_at="3")


def test_any_other_error_is_raised_as_it_is():
    trace = Trace()
    trace.write = trace.behind.work = lambda number: int("x")
    with pytest.raises(ValueError, match="invalid literal"):
        trace.run()


def test_a_call_by_anybody_else_is_done_when_it_returns():
    behind = WriteBehind(lambda data: data + 1)
    assert behind(1) == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("behind")
    (folder / "in").mkdir()
    for number, side in enumerate(SIDES):
        tifffile.imwrite(folder / "in" / f"{number}.tif", np.random.RandomState(number).rand(side, side).astype("f4"))
    torch.manual_seed(1)
    checkpoints.write(folder / "model.pt", UNet(2, 1, 2, base_channels=4, depth=2).state_dict())
    return folder


def segment(folder: Path, out: Path, **options):
    places = {"dataset_dir": folder / "in", "output_dir": out / "results", "checkpoint": folder / "model.pt"}
    inference(**places, **options).run()


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "results").rglob("*") if path.is_file()}


@pytest.fixture
def slow(monkeypatch):
    """The threads that write, each image in 50 ms."""
    threads, write = [], SegmentationWriter.__call__

    def slowly(self, data):
        threads.append(threading.current_thread().name)
        time.sleep(0.05)
        return write(self, data)

    monkeypatch.setattr(SegmentationWriter, "__call__", slowly)
    return threads


def test_results_are_those_without_threads(folder, tmp_path, slow):
    segment(folder, tmp_path / "threads")
    assert set(slow) == {"write-behind"}
    del slow[:]
    one_by_one = {"evaluator#postprocessing": "@postprocess_image", "dataset#alone": "$lambda path: True"}
    segment(folder, tmp_path / "none", **one_by_one)
    assert set(slow) == {"MainThread"}
    found, expected = files(tmp_path / "threads"), files(tmp_path / "none")
    assert set(found) == set(expected)
    assert {name for name in expected if found[name] != expected[name]} == set()
    rows = found["summary.csv"].decode().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == list(map(str, SIDES))


def test_an_interrupt_leaves_whole_results_alone(folder, tmp_path, slow, monkeypatch):
    calls, infer = [], OverlapTileInferer.__call__

    def interrupted(self, *args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return infer(self, *args, **options)

    monkeypatch.setattr(OverlapTileInferer, "__call__", interrupted)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - MONAI may wrap it
        segment(folder, tmp_path)
    assert isinstance(caught.value, KeyboardInterrupt) or own_cause(caught.value)
    found = files(tmp_path)
    outputs = [row.split(",")[7] for row in found["summary.csv"].decode().splitlines()[1:]]
    assert outputs == ["0", "1", "2"]
    assert {name.partition("_")[0] for name in found if "_" in name} == set(outputs)
    for output in outputs:
        assert tifffile.imread(tmp_path / "results" / f"{output}_cells.tif").shape
    assert not list((tmp_path / "results").glob(".*"))
