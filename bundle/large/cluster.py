"""Blocks in other processes, on this machine or many, through dask.distributed."""

from __future__ import annotations

import logging
import time
import uuid
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any

import torch

from bundle.data.errors import one_line
from bundle.inference.tile_cost import free_memory
from bundle.large.executor import Executor, Record, Serial, Task
from bundle.large.worker import do, plugin, require_dask

logger = logging.getLogger(__name__)

#: share of the free memory that workers of this machine are given
_SHARE = 0.9
#: blocks at the scheduler for each thread: one that is done, one that waits for its worker
_WINDOW = 2
#: for a cluster of ours. A worker that has too much memory is ended, not paused: it would wait for ever. A block whose
#: worker died is ours to repeat, see Cluster.run; no second block waits at a worker to be blamed with it
_SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
}


def executor_of(
    cluster: str = "local",
    workers: int | None = None,
    worker_threads: int = 1,
    device: torch.device | str = "cpu",
) -> Executor:
    """Where blocks are done.

    Args:
        cluster: "local": processes on this machine; "serial": one block after the other in this process, without dask;
            or the address of a scheduler, such as "tcp://10.0.0.1:8786".
        workers: processes of "local"; None: as many as there are cores and free memory, and this process alone where
            that is one, or the network runs on a GPU.
        worker_threads: of torch in each worker.
        device: of the network.

    Raises:
        ValueError: for another word or number.
    """
    for name, number in {"workers": workers, "worker_threads": worker_threads}.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, got {number!r}")
    if cluster != "serial" and cluster != "local" and "://" not in cluster:
        raise ValueError(f"cluster must be local, serial or an address such as tcp://10.0.0.1:8786, got {cluster!r}")
    if workers is not None and cluster != "local":
        raise ValueError(f"workers is for --cluster local, got {workers} with --cluster {cluster}")
    return Serial() if cluster == "serial" else Cluster(cluster, workers, worker_threads, device)


class Cluster:
    """Blocks in the workers of a cluster. See :func:`executor_of` for the arguments.

    The scheduler knows a few numbers of blocks at a time, whatever their count; workers read and write the stores
    themselves and return a :class:`Record`.
    """

    def __init__(
        self, cluster: str, workers: int | None = None, worker_threads: int = 1, device: torch.device | str = "cpu"
    ) -> None:
        self.cluster, self.threads = cluster, worker_threads
        self._workers, self._device = workers, torch.device(device)
        self._client: Any = None
        self._made_for = 0, 0.0

    def workers(self, task: Task) -> int:
        """How many processes of "local" are sensible."""
        if self._workers is not None:
            return self._workers
        if self._device.type != "cpu":
            return 1
        cores: int = require_dask("dask.system").CPU_COUNT // self.threads
        fitting = int(_SHARE * free_memory("cpu") / max(task.memory, 1.0))
        if fitting < min(cores, task.count):
            logger.info(
                "%d workers of %.1f GiB fit into the free memory, for %d cores; smaller tiles need less: --tile_size",
                *(max(1, fitting), task.memory / 2**30, cores),
            )
        return max(1, min(cores, fitting, task.count))

    def run(self, task: Task, numbers: Iterable[int]) -> Generator[Record, None, None]:
        """Do these blocks. A block whose worker dies is done again, then again when nothing else runs, then left out.

        Raises:
            RuntimeError: when the cluster is lost, or a worker would not compute the same bits.
        """
        numbers = iter(numbers)
        first = next(numbers, None)
        if first is None:
            return
        numbers = chain([first], numbers)
        if self.cluster == "local" and self._workers is None and self.workers(task) == 1:
            yield from Serial(self.threads).run(task, numbers)
            return
        client = self._connected(task)
        name = f"seamless-unet {task.markers.folder}"
        try:
            try:
                self._bring(client, name, task)
            except Exception as error:  # whatever its workers lack, or what cannot go to another process
                raise RuntimeError(
                    f"workers of --cluster {self.cluster} cannot take this job ({one_line(error)}): they need this "
                    "bundle, installed in the same versions; --cluster serial does without workers"
                ) from error
            for alone in (False, False, True):
                killed: list[int] = []
                yield from self._round(client, name, numbers, killed, alone)
                numbers = iter(killed)
            for number in killed:
                yield Record(number, failed="each worker that tried it died, as when memory is short")
        finally:
            with suppress(OSError):  # a worker that dies meanwhile, or the scheduler
                client.unregister_worker_plugin(name)

    def _bring(self, client: Any, name: str, task: Task) -> None:
        """Give the task to the workers. One that dies meanwhile fails the call for all."""
        bring = plugin(name, task, self.threads, self._device, own=self.cluster == "local")
        for patience in (1, 5, 0):
            try:
                client.register_plugin(bring, name=name)
                return
            except OSError:
                if not patience:
                    raise
                time.sleep(patience)

    def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            cluster = client.cluster
            client.close()
            if cluster is not None:
                cluster.close()

    def _round(
        self, client: Any, name: str, numbers: Iterator[int], killed: list[int], alone: bool
    ) -> Generator[Record, None, None]:
        """Each block once, a bounded number at a time; those whose worker died are added to ``killed``."""
        distributed = require_dask("distributed")
        waiting, run = distributed.as_completed(), uuid.uuid4().hex[:8]
        running: dict[str, tuple[Any, int]] = {}

        def submit(window: int) -> None:
            for number in islice(numbers, max(0, window - len(running))):
                future = client.submit(do, name, number, key=f"block-{run}-{number}", pure=False)
                running[future.key] = future, number
                waiting.add(future)

        try:
            submit(window := 1 if alone else self._window(client))
            for count, future in enumerate(waiting, 1):
                _, number = running.pop(future.key)
                error = future.exception() if future.status == "error" else None
                if isinstance(error, distributed.KilledWorker):
                    killed.append(number)
                elif error is not None:
                    raise error.with_traceback(future.traceback())
                elif future.status != "finished":
                    raise self._lost()
                else:
                    yield future.result()
                del future
                if not alone and count % window == 0:
                    window = self._window(client)  # workers come and go
                submit(window)
        except distributed.comm.CommClosedError as error:  # the scheduler has ended
            raise self._lost() from error
        finally:
            if client.status == "running":
                client.cancel([future for future, _ in running.values()])

    def _lost(self) -> RuntimeError:
        return RuntimeError(
            f"the cluster {self.cluster} is lost: start it again and repeat the command; the finished blocks are kept"
        )

    @staticmethod
    def _window(client: Any) -> int:
        threads: int = sum(client.nthreads().values())
        return _WINDOW * max(1, threads)

    def _connected(self, task: Task) -> Any:
        """The client; workers of "local" that are too few or too small for this task are replaced."""
        if self.cluster == "local" and (task.count > self._made_for[0] or task.memory > self._made_for[1]):
            self.close()
        if self._client is not None:
            return self._client
        self._made_for = task.count, task.memory
        distributed = require_dask("distributed")
        logging.getLogger("distributed").setLevel(logging.WARNING)  # else each connection is told
        if self.cluster == "local":
            workers = self.workers(task)
            limit = int(max(_SHARE * free_memory("cpu") / workers, task.memory))
            logger.info("starting %d workers, %d threads and %.1f GiB each", workers, self.threads, limit / 2**30)
            with require_dask("dask").config.set(_SETTINGS), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # another port for the dashboard
                local = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=limit,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:8787",
                    security=distributed.Security.temporary(),  # others on this machine cannot make it run anything
                    silence_logs=logging.CRITICAL,
                )
                self._client = distributed.Client(local)
        else:
            try:
                self._client = distributed.Client(self.cluster)
            except OSError as error:
                raise RuntimeError(f"no scheduler answers at --cluster {self.cluster} ({error})") from error
            if not self._client.nthreads():
                logger.info("%s has no workers yet: waiting for the first", self.cluster)
                self._client.wait_for_workers(1)
        logger.info("dask's dashboard: %s", self._client.dashboard_link)
        return self._client
