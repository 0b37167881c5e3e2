"""The store of a run: MLflow and a CSV file, both written by a thread, so that no step waits for them."""

from __future__ import annotations

import logging
import os
import posixpath
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock

from bundle.atomic import remove_leftovers, replacing
from bundle.tracking import history
from bundle.tracking.rows import Row, number

__all__ = [
    "VALUE_CHARACTERS",
    "Writer",
    "describe",
    "legal",
    "log_artifact",
    "new_run",
    "open_run",
    "reason",
    "sqlite_uri",
]

logger = logging.getLogger(__name__)

# nothing phones out, and a server that is away is noticed in seconds, not after MLflow's four minutes of retries
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

# MLflow's own limits
VALUE_CHARACTERS = 6000
_NAME_CHARACTERS = 250
#: opens the page of the experiment on its training runs instead of on language models
_KIND = {"mlflow.experimentKind": "custom_model_development"}
#: tag of a run: what :func:`new_run` gave it
_TOKEN, _NEW = "opened_as", "new-"
_ENTRIES_A_BATCH, _METRICS_A_BATCH = 100, 1000


def sqlite_uri(folder: str | os.PathLike[str]) -> str:
    """The tracking URI of the default store, ``<folder>/mlflow.db``; its artifacts go to ``<folder>/mlartifacts``."""
    return f"sqlite:///{(Path(folder).resolve() / 'mlflow.db').as_posix()}"


def new_run() -> str:
    """What stands for the id of a run that is still to be opened; kept, it finds the run if its id gets lost."""
    return f"{_NEW}{secrets.token_hex(8)}"


def open_run(uri: str, experiment_name: str, run_name: str, run: str) -> tuple[Any, str]:
    """A client of the store and the id of a run that is now running.

    Args:
        uri: of the store; an SQLite file that is not there is made.
        experiment_name: made if absent.
        run_name: of a new run.
        run: the id of an earlier one, or :func:`new_run`.
    """
    import mlflow

    for name in ("mlflow", "alembic"):  # they tell the making of every table
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # and this one every retry
    location = None
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///")).resolve()
        location = (file.parent / "mlartifacts").as_uri()
        _make_database(file, location)
    client = mlflow.MlflowClient(uri)
    if not run.startswith(_NEW):
        try:
            client.update_run(run, status="RUNNING")
        except mlflow.MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise ValueError(f"resume_run_id {run!r} is no run in {uri!r}; None opens a new one") from error
        return client, run
    experiment: Any = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        try:
            client.create_experiment(experiment_name, artifact_location=location, tags=_KIND)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process may have made it a moment ago
                raise
        experiment = client.get_experiment_by_name(experiment_name)
    if experiment.lifecycle_stage != "active":
        raise ValueError(f"experiment_name {experiment_name!r} is deleted in {uri!r}: restore it or choose another")
    for opened in client.search_runs([experiment.experiment_id], f"tags.{_TOKEN} = '{run}'"):
        return client, opened.info.run_id
    return client, client.create_run(experiment.experiment_id, run_name=run_name, tags={_TOKEN: run}).info.run_id


def _make_database(file: Path, artifacts: str) -> None:
    """Make an SQLite store with all its tables, unless there is one.

    MLflow makes them one by one. Killed in between it leaves a file that it cannot use again, and of two processes
    that begin at the same moment one fails; so one process makes the file elsewhere, and the others wait for it.
    """
    if file.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.exists():
            remove_leftovers(file.parent)
            with replacing(file) as part:
                SqlAlchemyStore(f"sqlite:///{part.as_posix()}", artifacts).engine.dispose()


def describe(
    client: Any, run_id: str, params: Iterable[tuple[str, str]], tags: Iterable[tuple[str, str]], config: Any
) -> None:
    """Log parameters, tags and config. Parameters cannot be changed: on resuming, new values become tags."""
    from mlflow.entities import Param, RunTag

    wanted = legal(params)
    known = client.get_run(run_id).data.params
    changed = [(f"resumed.{key}", value) for key, value in wanted.items() if known.get(key, value) != value]
    new = [Param(key, value) for key, value in wanted.items() if key not in known]
    for first in range(0, len(new), _ENTRIES_A_BATCH):
        client.log_batch(run_id, params=new[first : first + _ENTRIES_A_BATCH])
    notes = [RunTag(key, value) for key, value in legal([*tags, *changed]).items()]
    for first in range(0, len(notes), _ENTRIES_A_BATCH):
        client.log_batch(run_id, tags=notes[first : first + _ENTRIES_A_BATCH])
    if config is not None:
        client.log_dict(run_id, config, "config.json")


def legal(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names and values as MLflow takes them: forbidden characters replaced, too long ones cut, every name unique."""
    found: dict[str, str] = {}
    for given, value in entries:
        stem, number = _legal(given), 1
        name = stem[:_NAME_CHARACTERS]
        while name in found:
            number += 1
            end = f"_{number}"
            name = stem[: _NAME_CHARACTERS - len(end)] + end
        found[name] = value[:VALUE_CHARACTERS]
    return found


def _legal(name: str) -> str:
    name = re.sub(r"[^\w\-. :/]", "_", name)
    # MLflow wants a path that means itself
    return name.replace("/", "_") if name.startswith("/") or posixpath.normpath(name) != name else name


def log_artifact(client: Any, run_id: str, path: Path, folder: str | None) -> None:
    if path.is_dir():
        client.log_artifacts(run_id, path, folder or path.name)
    elif path.is_file():
        client.log_artifact(run_id, path, folder)
    else:
        logger.warning("artifact %s does not exist and is not logged", path)


_Call = Callable[[Any, str], object]


class Writer(threading.Thread):
    """Every few seconds writes queued rows to the CSV file and the store, then makes the queued calls of the store."""

    interval, retry_after, patience = 5.0, 30.0, 60.0  # seconds

    def __init__(self, history: Path, client: Any, run_id: str | None, uri: str, training: bool = False) -> None:
        super().__init__(name="tracking", daemon=True)
        self.queue: deque[Row | _Call] = deque()
        self.wake = threading.Event()
        self._history, self._client, self._run_id, self._uri = history, client, run_id, uri
        self._rows: list[Row] = []  # that the store does not have
        self._unwritten: list[Row] = []  # that the file does not have
        self._calls: list[_Call] = []
        self._draining = threading.Lock()
        self._cut = training  # a training may repeat steps of an interrupted one
        self._last = False
        self._retry_at = 0.0
        self._warned: set[str] = set()

    def stop(self) -> None:
        self._last = True
        self.wake.set()
        self.join(self.patience)
        for rows, place in ((self._rows, self._uri), (self._unwritten, self._history)):
            if rows:
                logger.warning("%d values did not reach %s", len(rows), place)
        if self._client is not None and (self.is_alive() or self._calls or self.queue):
            logger.warning("the end of the run, or files of it, did not reach %s", self._uri)

    def run(self) -> None:
        last = False
        while not last:
            self.wake.wait(self.interval)
            self.wake.clear()
            last = self._last
            self.drain()
            if self._client is not None and (last or time.monotonic() >= self._retry_at):
                self._send()

    def drain(self) -> None:
        """Take all that is queued to the CSV file, and keep it for the store."""
        with self._draining:
            rows = []
            while self.queue:
                item = self.queue.popleft()
                if isinstance(item, Row):
                    rows.append(item._replace(value=number(item.value)))
                elif self._client is not None:
                    self._calls.append(item)
            if self._client is not None:
                self._rows += rows
            self._unwritten += rows
            try:
                if self._unwritten and self._cut:
                    history.cut(self._history, self._unwritten[0])
                    self._cut = False
                history.append(self._history, self._unwritten)
                self._unwritten = []
            except OSError as error:
                self._warn("history", f"{self._history} cannot be written: {error}")

    def _send(self) -> None:
        from mlflow.entities import Metric

        try:
            while self._rows:
                batch = self._rows[:_METRICS_A_BATCH]
                metrics = [Metric(_legal(row.name), row.value, int(row.time * 1000), row.iteration) for row in batch]
                self._client.log_batch(self._run_id, metrics=metrics)
                del self._rows[: len(batch)]
        except Exception as error:
            self._failed(error)
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                call(self._client, str(self._run_id))
            except Exception as error:
                self._failed(error)
                self._calls.append(call)  # the others still have a chance: the end of the run, say, with a full disk

    def _failed(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + self.retry_after
        message = f"tracking_uri {self._uri!r} fails: {reason(error)}; training goes on, see {self._history}"
        self._warn("store", message)

    def _warn(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("%s", message)


def reason(error: BaseException) -> str:
    """One line; of a chain of errors the refused connection or the full disk at its root."""
    root, chain = error, {id(error)}
    while (before := root.__cause__ or root.__context__) is not None and id(before) not in chain:
        root = before
        chain.add(id(root))
    told = root if isinstance(root, OSError) else error
    return (str(told).splitlines() or [type(told).__name__])[0][:300]
