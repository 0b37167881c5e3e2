"""Blocks in several processes: the same bytes, whoever is killed."""

from __future__ import annotations

import logging
import signal
from functools import partial
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import tifffile

from bundle.large import cluster as cluster_module
from bundle.large import executor_of, image_in_blocks
from bundle.large import worker as worker_module
from bundle.large.cluster import Cluster
from bundle.large.executor import Record, Serial, Task, run_blocks
from bundle.large.markers import Markers
from bundle.large.worker import do, plugin, receive
from tests.large.images import content, large
from tests.large.killing import KillingTask, blocks_done, in_a_process, write_plan
from tests.large.test_job import folder, one_thread, segment  # noqa: F401 - fixtures


def clustered(folder, out, **options):  # noqa: F811
    """In a process of its own, with two workers."""
    image_in_blocks.Task = KillingTask
    segment(folder, out, executor=Cluster("local", 2), **options)


def test_a_killed_worker_and_a_killed_coordinator_cost_what_was_in_flight(folder, tmp_path):  # noqa: F811
    """A sample of kills in the middle of a write; make test-crash has all."""
    out = tmp_path / "out"
    write_plan(out, {2: {"access": 4, "whom": "worker"}, 6: {"access": 3, "whom": "both"}})
    assert in_a_process(partial(clustered, folder, out), tmp_path / "said") == -signal.SIGKILL
    begun = blocks_done(out)
    done = Markers(out / "slide_segmentation.job" / "stages", "probability").done(9)
    assert not done[6]
    assert set(begun) >= {*range(7)} - {2}
    assert len(begun) - done.sum() <= 3, "block 2 once, and what the two workers had in flight at last"
    segment(folder, out)
    assert content(out) == content(folder / "whole")


def test_a_job_that_has_begun_can_go_to_another_process(folder, tmp_path, monkeypatch):  # noqa: F811
    """With its TIFF open and its network prepared."""
    pixels = np.random.default_rng(0).integers(0, 4000, (130, 100), np.uint16)
    tifffile.imwrite(tmp_path / "slide.tif", pixels, tile=(32, 32), compression="zlib")
    large(tmp_path / "slide.tif", tmp_path / "out", folder / "model.pt", block_size=44).run()

    def elsewhere(task, executor):
        assert task(0) == Record(0)
        return run_blocks(cloudpickle.loads(cloudpickle.dumps(task)), executor)

    monkeypatch.setattr(image_in_blocks, "run_blocks", elsewhere)
    large(tmp_path / "slide.tif", tmp_path / "other", folder / "model.pt", block_size=44).run()
    assert content(tmp_path / "other") == content(tmp_path / "out")


class Scripted(Cluster):
    """Whose workers die at some blocks, each so many times."""

    def __init__(self, deaths):
        super().__init__("local", workers=2)
        self.deaths, self.rounds, self.asked = deaths, [], 0

    def _connected(self, task):
        self.task = task
        return self

    def register_plugin(self, plugin, name):
        self.asked += 1
        if self.asked == 1:
            raise OSError("a worker died meanwhile")

    def unregister_worker_plugin(self, name):
        raise OSError("another one, too")

    def _round(self, client, name, numbers, killed, alone):
        numbers = list(numbers)
        self.rounds.append((numbers, alone))
        for number in numbers:
            if self.deaths.get(number, 0):
                self.deaths[number] -= 1
                killed.append(number)
            else:
                yield self.task(number)


def task_of(folder: Path, work, count=5) -> Task:  # noqa: F811
    return Task("probability", count, work, Markers(folder, "probability"), lambda: None)


def test_a_block_that_kills_its_worker_is_tried_alone_at_last_then_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module.time, "sleep", lambda seconds: None)
    done = []
    cluster = Scripted({1: 1, 3: 9, 4: 2})
    with pytest.raises(RuntimeError, match=r"1 of 5 blocks .*\(block 3: each worker that tried it died.*these again"):
        run_blocks(task_of(tmp_path, done.append), cluster)
    assert cluster.rounds == [([0, 1, 2, 3, 4], False), ([1, 3, 4], False), ([3, 4], True)]
    assert done == [0, 2, 1, 4]
    assert run_blocks(task_of(tmp_path, done.append), Serial()) == 4
    assert done[4:] == [3]


def test_two_processes_may_do_one_block_at_a_time(tmp_path):
    markers = Markers(tmp_path, "probability")
    markers.finish(3)
    markers.finish(3)
    assert markers.done(5).tolist() == [False, False, False, True, False]


def test_a_block_that_another_process_has_done_is_not_done_again(tmp_path):
    done = []
    task = task_of(tmp_path, done.append)
    task.markers.finish(2)
    assert task(2) == Record(2)
    assert done == []


def test_a_worker_that_would_compute_other_bits_is_refused():
    from types import SimpleNamespace

    task = Task("probability", 1, print, None, print, made_by=(("device", "cpu OLD"),))  # type: ignore[arg-type]
    receive(SimpleNamespace(address="tcp://there"), "job", task, 1, cluster_module.torch.device("cpu"))
    with pytest.raises(
        RuntimeError, match=r"worker tcp://there would compute other last bits: device is cpu .* cpu OLD"
    ):
        do("job", 0)


def test_workers_of_our_own_end_at_once(tmp_path, monkeypatch):
    """Else dask waits four seconds for each, and warns that it kills them."""
    registered = []
    monkeypatch.setattr(worker_module.atexit, "register", registered.append)
    monkeypatch.setattr(worker_module, "receive", lambda *arguments: None)
    task, device = task_of(tmp_path, print), cluster_module.torch.device("cpu")
    for own, leave in ((False, []), (True, [worker_module._leave])):
        plugin("job", task, 1, device, own).setup(None)
        assert registered == leave


def test_workers_of_this_machine_are_as_many_as_cores_memory_and_blocks_allow(tmp_path, monkeypatch):
    from dask import system

    monkeypatch.setattr(system, "CPU_COUNT", 8)
    monkeypatch.setattr(cluster_module, "free_memory", lambda device: 10 * 2**30)

    def workers(count, gib, *args):
        return Cluster("local", *args).workers(Task("", count, print, None, print, memory=gib * 2**30))

    assert workers(100, 1) == 8
    assert workers(100, 2) == 4
    assert workers(3, 1) == 3
    assert workers(100, 50) == 1
    assert workers(100, 1, None, 4) == 2
    assert workers(100, 50, 5) == 5
    assert workers(100, 1, None, 1, "cuda") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "slurm"}, "cluster must be local, serial or an address such as tcp://10.0.0.1:8786, got 'slurm'"),
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"worker_threads": 1.5}, "worker_threads must be a whole number of at least 1, got 1.5"),
        ({"cluster": "serial", "workers": 2}, "workers is for --cluster local, got 2 with --cluster serial"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        executor_of(**options)


def test_no_scheduler_is_said(tmp_path):
    import dask

    cluster = Cluster("tcp://127.0.0.1:9")
    logging.getLogger("distributed").setLevel(logging.INFO)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(RuntimeError, match=r"no scheduler answers at --cluster tcp://127\.0\.0\.1:9"),
    ):
        run_blocks(task_of(tmp_path, print), cluster)
    assert logging.getLogger("distributed").level == logging.WARNING, "each connection would be told"
