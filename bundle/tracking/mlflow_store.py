"""The store of a run: MLflow and a CSV file, both written by a thread, so that no step waits for them."""

from __future__ import annotations

import logging
import os
import posixpath
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bundle.tracking import history
from bundle.tracking.origin import DESCRIPTION
from bundle.tracking.rows import Row, number

logger = logging.getLogger(__name__)

# nothing phones out, and a server that is away is noticed in seconds, not after MLflow's four minutes of retries
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

#: of the addresses of stores
SCHEMES = ("sqlite:///", "http://", "https://")
#: begins the tags that hold parameters of a resumed run
RESUMED = "resumed."
# MLflow's own limits
VALUE_CHARACTERS = 6000
_NAME_CHARACTERS = 250
_ENTRIES_A_BATCH, _METRICS_A_BATCH = 100, 1000


def sqlite_uri(folder: str | os.PathLike[str]) -> str:
    """The tracking URI of the default store, ``<folder>/mlflow.db``; its artifacts go to ``<folder>/mlartifacts``."""
    return f"sqlite:///{(Path(folder).resolve() / 'mlflow.db').as_posix()}"


def import_mlflow() -> Any:
    """The package, imported as late and made as silent as can be."""
    import mlflow

    for name in ("mlflow", "alembic"):  # they tell the making of every table
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # and this one, with a traceback, what we say
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # and this one every retry
    return mlflow


def open_store(uri: str) -> tuple[Any, list[Any]]:
    """A client of a store that is there, and its experiments.

    Raises:
        ValueError: for another kind of URI, or a file that is no store of the installed MLflow.
        FileNotFoundError: where there is no such database.
        ConnectionError: when a server does not answer.
    """
    if not uri.startswith(SCHEMES):
        raise ValueError(f"tracking_uri must begin with {', '.join(SCHEMES)}, got {uri!r}")
    file, local = Path(uri.removeprefix("sqlite:///")), uri.startswith("sqlite:///")
    if local and not file.is_file():  # MLflow would make one
        raise FileNotFoundError(
            f"tracking_uri {uri!r}: there is no {file}; train first (make quickstart), or name another"
        )
    try:
        client = import_mlflow().MlflowClient(uri)
        return client, list(client.search_experiments())
    except Exception as error:  # of MLflow, SQLAlchemy, requests or the system, as the store may be
        if not local:
            raise ConnectionError(f"tracking_uri {uri!r} does not answer: {reason(error)}") from error
        raise ValueError(f"tracking_uri {uri!r} is no MLflow store: {reason(error)}") from error


def describe(
    client: Any,
    run_id: str,
    params: Iterable[tuple[str, str]],
    tags: Iterable[tuple[str, str]],
    config: Any,
    data: Any = None,
) -> None:
    """Log parameters, tags, config and data set. Parameters cannot be changed: on resuming, new values become tags.

    A description that the run has already stays: somebody may have written it.
    """
    from mlflow.entities import Param, RunTag

    wanted = legal(params)
    earlier = client.get_run(run_id).data
    known = earlier.params
    changed = [(f"{RESUMED}{key}", value) for key, value in wanted.items() if known.get(key, value) != value]
    new = [Param(key, value) for key, value in wanted.items() if key not in known]
    told = legal([*tags, *changed])
    notes = [RunTag(key, value) for key, value in told.items() if key != DESCRIPTION or key not in earlier.tags]
    for first in range(0, max(len(new), len(notes)), _ENTRIES_A_BATCH):
        batch = slice(first, first + _ENTRIES_A_BATCH)
        client.log_batch(run_id, params=new[batch], tags=notes[batch])
    if config is not None:
        client.log_dict(run_id, config, "config.json")
    if data is not None:
        client.log_inputs(run_id, datasets=[data])


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
                self._warn("history", f"{error}; it is tried again with the next values")

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
        with self._draining:  # the training's thread may be adding one
            calls, self._calls = self._calls, []
        for call in calls:
            try:
                call(self._client, str(self._run_id))
            except Exception as error:
                self._failed(error)
                self._calls.append(call)  # the others still have a chance: the end of the run, say, with a full disk

    def _failed(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + self.retry_after
        message = f"tracking_uri {self._uri!r} fails: {reason(error)}; training continues, see {self._history}"
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
    cause = root if isinstance(root, (OSError, sqlite3.Error)) else error
    if isinstance(cause, OSError) and cause.strerror and cause.filename:
        return f"{cause.strerror}: {cause.filename}"
    return (str(cause).splitlines() or [type(cause).__name__])[0][:300]
